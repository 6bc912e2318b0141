package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// ConntrackLimits are limits and timeouts of connection tracking, as kube-proxy has them. 0 leaves what the node has.
type ConntrackLimits struct {
	// MaxPerCore times the number of processors, at least Min, is what the number of tracked connections is raised to;
	// it is never lowered.
	MaxPerCore, Min int
	// The timeouts are whole seconds.
	TCPEstablishedTimeout, TCPCloseWaitTimeout, UDPTimeout, UDPStreamTimeout time.Duration
	TCPBeLiberal                                                             bool
}

// The names of the parameters of ConntrackLimits.
const (
	conntrackMax = "net.netfilter.nf_conntrack_max"
	// hashSize is the number of buckets of the table: a parameter of the module, which is written with its path below
	// /sys here.
	hashSize          = "module.nf_conntrack.parameters.hashsize"
	establishedName   = "net.netfilter.nf_conntrack_tcp_timeout_established"
	closeWaitName     = "net.netfilter.nf_conntrack_tcp_timeout_close_wait"
	beLiberalName     = "net.netfilter.nf_conntrack_tcp_be_liberal"
	udpTimeoutName    = "net.netfilter.nf_conntrack_udp_timeout"
	udpStreamName     = "net.netfilter.nf_conntrack_udp_timeout_stream"
	maxPerCoreCeiling = 1 << 20
)

// turnOff are the flags that leave a parameter alone.
var turnOff = map[string]string{
	conntrackMax: "--conntrack-max-per-core=0", hashSize: "--conntrack-max-per-core=0",
	establishedName: "--conntrack-tcp-timeout-established=0", closeWaitName: "--conntrack-tcp-timeout-close-wait=0",
	beLiberalName: "--conntrack-tcp-be-liberal=false", udpTimeoutName: "--conntrack-udp-timeout=0",
	udpStreamName: "--conntrack-udp-timeout-stream=0",
}

// max returns how many connections are to be tracked at least, 0 where that is not our business. Above a million the
// product of cores and MaxPerCore says nothing about what a node needs. The table takes 320 bytes for each connection
// (kubernetes, pkg/proxy/conntrack/sysctls.go, 1.37).
func (l ConntrackLimits) max(cpus int) int {
	switch product := l.MaxPerCore * cpus; {
	case l.MaxPerCore == 0:
		return 0
	case product > maxPerCoreCeiling:
		return maxPerCoreCeiling
	default:
		return max(product, l.Min)
	}
}

// changes returns what to write, in order, for what the parameters are at present. One that cannot be read is written.
func (l ConntrackLimits) changes(cpus int, present map[string]string) []dataplane.SysctlChange {
	var changes []dataplane.SysctlChange
	raise := func(name string, to int) {
		if now, err := strconv.Atoi(present[name]); err != nil || now < to {
			changes = append(changes, dataplane.SysctlChange{Name: name, Old: present[name], New: strconv.Itoa(to)})
		}
	}
	if limit := l.max(cpus); limit > 0 {
		raise(conntrackMax, limit)
		raise(hashSize, limit/4) // four connections to a bucket, as the kernel itself reckons
	}
	set := func(name string, wanted int64) {
		if value := strconv.FormatInt(wanted, 10); wanted > 0 && present[name] != value {
			changes = append(changes, dataplane.SysctlChange{Name: name, Old: present[name], New: value})
		}
	}
	set(establishedName, int64(l.TCPEstablishedTimeout/time.Second))
	set(closeWaitName, int64(l.TCPCloseWaitTimeout/time.Second))
	set(udpTimeoutName, int64(l.UDPTimeout/time.Second))
	set(udpStreamName, int64(l.UDPStreamTimeout/time.Second))
	if l.TCPBeLiberal {
		set(beLiberalName, 1)
	}
	return changes
}

// Apply writes what has to be written and returns what was changed, also with an error. An error names the parameter
// and the flag that leaves it alone. left says in words what this process may not change. The size of the table is the
// whole machine's, and can be changed in the initial network namespace only. /sys may be read-only in a container.
func (l ConntrackLimits) Apply() (changed []dataplane.SysctlChange, left []string, err error) {
	present := map[string]string{}
	for name := range turnOff {
		value, err := readFile(limitPath(name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, fmt.Errorf("read %s: %w", name, err)
		}
		present[name] = value
	}
	var errs []error
	for _, change := range l.changes(onlineCPUs(), present) {
		err := writeFile(limitPath(change.Name), change.New)
		switch {
		case err == nil:
			changed = append(changed, change)
		case notOurs(change.Name, err):
			left = append(left, fmt.Sprintf(
				"%s stays %s, below %s: it can be set in the node's own network namespace only, with /sys mounted writable",
				change.Name, change.Old, change.New,
			))
		default:
			errs = append(errs, fmt.Errorf("set %s from %q to %s: %w (%s; %s leaves it as it is)",
				change.Name, change.Old, change.New, err, whyNot(change.Name, err), turnOff[change.Name]))
		}
	}
	return changed, left, errors.Join(errs...)
}

// notOurs reports whether the parameter belongs to the machine and cannot be written from here. In other network
// namespaces than the initial one nf_conntrack_max has the mode 0444, and the module's parameter is EOPNOTSUPP
// (net/netfilter/nf_conntrack_standalone.c, nf_conntrack_core.c, Linux 6.1).
func notOurs(name string, err error) bool {
	switch name {
	case hashSize:
		return errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EROFS) || errors.Is(err, fs.ErrPermission)
	case conntrackMax:
		info, missing := os.Stat(limitPath(name))
		return errors.Is(err, fs.ErrPermission) && missing == nil && info.Mode().Perm()&0o222 == 0
	}
	return false
}

func limitPath(name string) string {
	if name == hashSize {
		return "/sys/" + strings.ReplaceAll(name, ".", "/")
	}
	return sysctlPath(name)
}

// onlineCPUs counts the machine's processors, of which this process may be allowed a few only.
func onlineCPUs() int {
	data, err := os.ReadFile("/sys/devices/system/cpu/online")
	if n := countCPUs(string(data)); err == nil && n > 0 {
		return n
	}
	return runtime.NumCPU()
}

// countCPUs reads a list such as "0-3,8"; 0 when it is none.
func countCPUs(list string) (n int) {
	for part := range strings.SplitSeq(strings.TrimSpace(list), ",") {
		first, last, span := strings.Cut(part, "-")
		if !span {
			last = first
		}
		from, err1 := strconv.Atoi(first)
		to, err2 := strconv.Atoi(last)
		if err1 != nil || err2 != nil || to < from {
			return 0
		}
		n += to - from + 1
	}
	return n
}
