package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// facts is what was found out about this machine.
type facts struct {
	root   bool
	ownErr string              // why the machine's own kernel will not do; "" when it does
	apt    bool                // packages can be installed with apt-get
	has    func(p string) bool // whether a program or file is there
}

// lab is one way of getting a kernel with IPVS.
type lab struct {
	kind string // own, uml, qemu
	why  string
	run  func(context.Context, job) (int, error)
}

// needs lists, for each way, the programs and the Debian packages that have them.
var needs = map[string][][2]string{
	"own": {{"ip", "iproute2"}, {"iptables", "iptables"}, {"ipset", "ipset"}, {"ipvsadm", "ipvsadm"}, {"conntrack", "conntrack"}, {"modprobe", "kmod"}},
	"uml": {{"linux.uml", "user-mode-linux"}, {"ip", "iproute2"}, {"iptables", "iptables"}, {"ipset", "ipset"}, {"ipvsadm", "ipvsadm"}, {"conntrack", "conntrack"}, {"modprobe", "kmod"}},
}

func (l lab) name() string {
	switch l.kind {
	case "own":
		return "the machine's own kernel " + release()
	case "uml":
		return "User-Mode Linux"
	}
	return l.kind
}

func (l lab) missing(has func(string) bool) []string {
	var packages []string
	for _, need := range needs[l.kind] {
		if !has(need[0]) {
			packages = append(packages, need[1])
		}
	}
	return packages
}

// choose takes the first way that works: own kernel, User-Mode Linux.
func choose(wanted string, f facts) (lab, error) {
	own := lab{kind: "own", run: runOwn}
	uml := lab{kind: "uml", run: runUML}
	switch wanted {
	case "own":
		if f.ownErr != "" {
			return lab{}, fmt.Errorf("the machine's own kernel will not do: %s", f.ownErr)
		}
		own.why = "asked for"
		return own, nil
	case "uml":
		uml.why = "asked for"
	case "auto":
		if f.ownErr == "" {
			own.why = "it has IPVS and dummy links"
			return own, nil
		}
		uml.why = f.ownErr
	case "qemu":
		return lab{}, fmt.Errorf("QEMU is not built into the lab yet; use auto, own or uml")
	default:
		return lab{}, fmt.Errorf("kernel %q is unknown; allowed are auto, own, uml", wanted)
	}
	if !f.root {
		return lab{}, fmt.Errorf("root is needed to boot %s; run it again with sudo", uml.name())
	}
	if missing := uml.missing(f.has); len(missing) > 0 && !f.apt {
		return lab{}, fmt.Errorf("this machine lacks what Debian and Ubuntu have in the packages %s", strings.Join(missing, ", "))
	}
	return uml, nil
}

func gather() facts {
	f := facts{root: os.Geteuid() == 0, has: hasProgram}
	f.apt = hasProgram("apt-get")
	f.ownErr = ownKernel(f.root)
	return f
}

func hasProgram(name string) bool {
	if _, err := exec.LookPath(name); err == nil {
		return true
	}
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/local/sbin"} {
		if _, err := os.Stat(dir + "/" + name); err == nil {
			return true
		}
	}
	return false
}

// ownKernel says why the machine's own kernel will not do, or "".
func ownKernel(root bool) string {
	if !root {
		return "not root"
	}
	if _, err := os.Stat("/proc/net/ip_vs"); err != nil {
		if exec.Command("modprobe", "ip_vs").Run() != nil {
			return "kernel " + release() + " has no ip_vs"
		}
	}
	probe := exec.Command("unshare", "--net", "sh", "-c", "ip link add probe0 type dummy")
	if out, err := probe.CombinedOutput(); err != nil {
		return "no dummy link can be made: " + strings.TrimSpace(string(out))
	}
	return ""
}

func release() string {
	data, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "of unknown version"
	}
	return strings.TrimSpace(string(data))
}

// install gets the packages that are missing, when we may.
func install(l lab) error {
	missing := l.missing(hasProgram)
	if len(missing) == 0 {
		return nil
	}
	command := "apt-get install -y --no-install-recommends " + strings.Join(missing, " ")
	if os.Geteuid() != 0 || !hasProgram("apt-get") {
		return fmt.Errorf("packages are missing; type: sudo %s", command)
	}
	fmt.Fprintln(os.Stderr, "lab: installing", strings.Join(missing, " "))
	for _, line := range []string{"apt-get update -q", command} {
		args := append([]string{"-o", "DPkg::Lock::Timeout=300"}, strings.Fields(line)[1:]...)
		cmd := exec.Command("apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", line, err, out)
		}
	}
	return nil
}
