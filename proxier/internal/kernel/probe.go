package kernel

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/coreos/go-iptables/iptables"

	"github.com/ipvs-proxier/ipvs-proxier/internal/command"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// Families returns the address families that this node can serve.
func Families(by Netfilter) []cluster.Family {
	families := []cluster.Family{cluster.IPv4}
	if _, err := os.Stat("/proc/net/if_inet6"); err != nil {
		return families
	}
	if _, err := exec.LookPath(commands[cluster.IPv6]); err != nil && by != NFTables {
		return families
	}
	return append(families, cluster.IPv6)
}

// Probe finds out what this kernel and its tools can do, and loads the modules of schedulers. An error names what is
// missing and the command that provides it.
func Probe(schedulers []string, by Netfilter) (dataplane.Facts, error) {
	facts := dataplane.Facts{Schedulers: []string{}}
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return facts, fmt.Errorf("read the kernel's version: %w", err)
	}
	facts.KernelMajor, facts.KernelMinor = parseRelease(string(release))
	if by != NFTables {
		if err := programsMissing(); err != nil {
			return facts, err
		}
	}
	opened, err := newIPVS()
	if err != nil {
		return facts, err
	}
	if err := opened.close(); err != nil {
		return facts, err
	}
	if facts.Schedulers, err = probeSchedulers(
		schedulers, func() modules { return readModules("", strings.TrimSpace(string(release))) },
	); err != nil {
		return facts, err
	}
	if by == NFTables {
		facts.RandomFully, facts.IPVSMatch, facts.OwnTables = true, true, true
		return facts, nil
	}
	facts.RandomFully = knowsRandomFully()
	facts.IPVSMatch = hasIPVSMatch(
		func() modules { return readModules("", strings.TrimSpace(string(release))) },
		func(program string, args ...string) { _, _ = command.Run(context.Background(), nil, program, args...) },
	)
	return facts, nil
}

// programsMissing names the first program of iptables that is not installed.
func programsMissing() error {
	for _, tool := range []string{"iptables", "iptables-save", "iptables-restore"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is not installed (on Debian and Ubuntu: apt-get install iptables)", tool)
		}
	}
	return nil
}

// hasIPVSMatch reports whether rules can match what IPVS has changed, and loads the module of that where it is not
// known to be there. What is in no list that can be read and cannot be loaded counts as missing.
//
// A container without CAP_SYS_MODULE loads nothing by modprobe. But the kernel loads a match by itself for whoever has
// CAP_NET_ADMIN and asks for its revisions (net/netfilter/x_tables.c, xt_find_revision, Linux 6.1), which iptables does
// before it shows the help of the match. It writes nothing then, and waits for no lock.
func hasIPVSMatch(read func() modules, run func(program string, args ...string)) bool {
	const name = "xt_ipvs"
	known := read()
	switch {
	case known.loaded(name) || known.builtIn(name):
		return true
	case known.absent(name):
		return false
	}
	for _, load := range [][]string{{"modprobe", "-q", name}, {"iptables", "-m", "ipvs", "--help"}} {
		run(load[0], load[1:]...)
		if read().loaded(name) {
			return true
		}
	}
	return false
}

// parseRelease reads "6.12.3-amd64"; what cannot be read counts as 0.
func parseRelease(release string) (major, minor int) {
	parts := strings.SplitN(strings.TrimSpace(release), ".", 3)
	if len(parts) < 2 {
		return 0, 0
	}
	major, _ = strconv.Atoi(parts[0])
	end := strings.IndexFunc(parts[1], func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(parts[1])
	}
	minor, _ = strconv.Atoi(parts[1][:end])
	return major, minor
}

// knowsRandomFully asks for the version of iptables, which has had the option since 1.6.2. newChains returns the error
// of one that does not work.
func knowsRandomFully() bool {
	t, err := iptables.New()
	return err == nil && t.HasRandomFully()
}
