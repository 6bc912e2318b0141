package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// gather finds out what choose has to know. It changes nothing and loads nothing.
func gather() facts {
	f := facts{root: os.Geteuid() == 0, again: "sudo " + strings.Join(os.Args, " "), arch: runtime.GOARCH,
		release: release(),
		has:     hasProgram, apt: hasProgram("apt-get")}
	f.ownLacks = ownLacks(f.release)
	// Asking apt takes longer than all else here, and is of use only where something is to be installed.
	if f.apt && f.lacksPrograms() {
		known := aptCandidates()
		f.listsEmpty = len(known) == 0
		f.offers = func(p string) bool { return known[p] }
	}
	return f
}

// lacksPrograms says whether some kind of kernel needs a program that is not there.
func (f facts) lacksPrograms() bool {
	for _, w := range ways(facts{has: f.has, apt: true, listsEmpty: true}) {
		if len(w.packages) > 0 {
			return true
		}
	}
	return false
}

// systemDirs are where Debian keeps programs for root; the PATH of sudo or cron may lack them.
var systemDirs = []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}

// program returns the path of a program, or "".
func program(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, dir := range systemDirs {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode()&0o111 != 0 {
			return path
		}
	}
	return ""
}

func hasProgram(name string) bool { return program(name) != "" }

func release() string {
	data, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "of unknown version"
	}
	return strings.TrimSpace(string(data))
}

// ownLacks names a module that the machine's own kernel does not have, judging by files alone; "" when it has both.
func ownLacks(release string) string {
	for _, module := range []string{"ip_vs", "dummy"} {
		if !moduleKnown(module, release) {
			return fmt.Sprintf("this machine's kernel %s has no %s", release, module)
		}
	}
	return ""
}

// moduleKnown says whether a module is loaded, built in, or can be loaded.
func moduleKnown(module, release string) bool {
	if _, err := os.Stat("/sys/module/" + module); err == nil {
		return true
	}
	for _, list := range []string{"modules.dep", "modules.builtin"} {
		if fileNamesModule(filepath.Join("/lib/modules", release, list), module) {
			return true
		}
	}
	return false
}

// fileNamesModule says whether a line of modules.dep or modules.builtin begins with the module's file.
func fileNamesModule(path, module string) bool {
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		name, _, _ := strings.Cut(lines.Text(), ":")
		if moduleName(name) == module {
			return true
		}
	}
	return false
}

// aptCandidates returns the packages that apt-get could install, of those that lab may want.
func aptCandidates() map[string]bool {
	names := []string{"linux-image-amd64"}
	for _, list := range [][]requirement{always, besides[uml], besides[qemu]} {
		for _, need := range list {
			names = append(names, need.debianPackage)
		}
	}
	cmd := exec.CommandContext(context.Background(), "apt-cache", append([]string{"policy"}, names...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.Output()
	if err != nil {
		return nil
	}
	return parsePolicy(string(out))
}

// parsePolicy reads the output of apt-cache policy: which packages can be had from an archive. A package that is
// installed has a candidate even with empty lists, namely itself; only what comes from an archive counts.
func parsePolicy(text string) map[string]bool {
	candidates := map[string]bool{}
	var current string
	for _, line := range strings.Split(text, "\n") {
		switch {
		case line != "" && line[0] != ' ':
			current = strings.TrimSuffix(line, ":")
		// Versions are indented by five columns, the archives that have them by more.
		case strings.HasPrefix(line, "      ") && !strings.HasSuffix(line, "/var/lib/dpkg/status"):
			candidates[current] = true
		}
	}
	return candidates
}
