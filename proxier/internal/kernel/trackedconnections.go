package kernel

import (
	"os"
	"strconv"
	"strings"
)

// TrackedConnections is the state of connection tracking.
type TrackedConnections struct {
	Count, Max, Wanted int
	// Settable says whether this process can write Max.
	Settable bool
}

// Tracked returns how many connections are tracked and may be, and what [ConntrackLimits.Apply] would raise that to. A
// kernel that tracks none yet is fs.ErrNotExist.
func (l ConntrackLimits) Tracked() (t TrackedConnections, err error) {
	if t.Count, err = number10(sysctlPath("net.netfilter.nf_conntrack_count")); err != nil {
		return t, err
	}
	value, readOnly, err := SysctlAccess(conntrackMax)
	if err != nil {
		return t, err
	}
	t.Wanted, t.Settable = l.max(onlineCPUs()), readOnly == nil
	t.Max, err = strconv.Atoi(value)
	return t, err
}

// Timeouts returns the parameters that [ConntrackLimits.Apply] sets to an exact value. Apply returns an error where it
// cannot set one, and the start ends.
func (l ConntrackLimits) Timeouts() map[string]string {
	wanted := map[string]string{}
	for _, change := range l.changes(0, nil) {
		if change.Name != conntrackMax && change.Name != hashSize {
			wanted[change.Name] = change.New
		}
	}
	return wanted
}

// CountConnections adds up the active and inactive connections of all real servers in /proc/net/ip_vs.
func CountConnections() (n int, err error) {
	text, err := os.ReadFile("/proc/thread-self/net/ip_vs")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		// "  -> 0AF40102:1F90      Masq    1      3          12"
		fields := strings.Fields(line)
		if len(fields) != 6 || fields[0] != "->" {
			continue
		}
		active, err1 := strconv.Atoi(fields[4])
		inactive, err2 := strconv.Atoi(fields[5])
		if err1 == nil && err2 == nil {
			n += active + inactive
		}
	}
	return n, nil
}
