package nodefacts

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/nodecheck"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/predecessor"
)

// Asked is what the facts depend on beside the node itself.
type Asked struct {
	nodecheck.Wanted
	Conntrack kernel.ConntrackLimits
	// Variant is the variant of iptables that is used.
	Variant kernel.Variant
}

// Process reads what `run` looks at before it changes anything. It takes some milliseconds and starts no program.
func Process(a Asked) nodecheck.Facts {
	f := nodecheck.Facts{
		Modules: map[string]nodecheck.ModuleState{}, Sysctls: map[string]nodecheck.Sysctl{}, Iptables: string(a.Variant),
	}
	readModules(&f)
	f.Capabilities = capabilities()
	f.UserNamespace, f.UIDMap = kernel.InUserNamespace()
	f.SELinux = selinuxType()
	for _, name := range slices.Sorted(maps.Keys(a.Sysctls)) {
		if kernel.IsTimeout(name) {
			continue // in no file, and set as IPVS's other objects are
		}
		value, readOnly, err := kernel.SysctlAccess(name)
		s := nodecheck.Sysctl{Value: value, Missing: errors.Is(err, fs.ErrNotExist)}
		switch {
		case err != nil && !s.Missing:
			s.ReadOnly = err.Error()
		case readOnly != nil:
			s.ReadOnly = readOnly.Error()
		}
		f.Sysctls[name] = s
	}
	f.Programs, f.IPv6Programs = kernel.MissingPrograms()
	f.IPv6 = kernel.HasIPv6()
	return f
}

// Node reads all that is the node's own.
func Node(ctx context.Context, a Asked) nodecheck.Facts {
	f := Process(a)
	f.KubeletChain = known(kubeletChain(ctx))
	f.Bridges = known(bridges())
	if err := predecessor.Held(); err != nil {
		f.Running = err.Error()
	}
	for _, l := range predecessor.NewDetector().Alive(ctx) {
		// Ours answers on kube-proxy's ports as that does: beside it only a process counts.
		if f.Running == "" || strings.Contains(l.Sign, "process ") {
			f.Proxies = append(f.Proxies, nodecheck.Proxy{Name: string(l.Proxy), Sign: l.Sign})
		}
	}
	f.Listening = known(kernel.TCPListeners())
	readLocalPorts(&f)
	f.Conntrack = known(conntrack(a.Conntrack))
	f.Connections = known(connections())
	return f
}

// known returns the value as a fact, or the error as the reason why it is none.
func known[T any](value T, err error) nodecheck.Maybe[T] {
	if err != nil {
		return nodecheck.Not[T](err.Error())
	}
	return nodecheck.Is(value)
}

func readModules(f *nodecheck.Facts) {
	release, _, _, err := kernel.Release()
	if err != nil {
		f.ModulesWhy = err.Error()
		return
	}
	f.Kernel = release
	known := kernel.ReadModules(release)
	f.ModulesWhy = "/lib/modules/" + release + " cannot be read (in a container, mount the node's /lib/modules)"
	for _, name := range nodecheck.Modules() {
		loaded, builtIn, absent := known.State(name)
		switch {
		case loaded:
			f.Modules[name] = nodecheck.Loaded
		case builtIn:
			f.Modules[name] = nodecheck.BuiltIn
		case absent:
			f.Modules[name] = nodecheck.Absent
		case known.Listed():
			f.Modules[name] = nodecheck.Loadable
		}
	}
	// A kernel may have IPVS built in and no lists of modules; one that loads none has it or has it not.
	if has, err := kernel.HasIPVS(); err == nil && f.Modules["ip_vs"] == "" && (has || !known.Loads()) {
		f.Modules["ip_vs"] = map[bool]nodecheck.ModuleState{true: nodecheck.BuiltIn, false: nodecheck.Absent}[has]
	}
}

// capabilities are those in force of this process.
func capabilities() nodecheck.Maybe[uint64] {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return nodecheck.Not[uint64](err.Error())
	}
	for line := range strings.Lines(string(text)) {
		if value, is := strings.CutPrefix(line, "CapEff:"); is {
			return known(strconv.ParseUint(strings.TrimSpace(value), 16, 64))
		}
	}
	return nodecheck.Not[uint64]("/proc/self/status has no line CapEff")
}

// selinuxType returns the type of this process where SELinux enforces: the third part of its context,
// "system_u:system_r:container_t:s0:c1,c2".
func selinuxType() string {
	enforces, err := os.ReadFile("/sys/fs/selinux/enforce")
	if err != nil || strings.TrimSpace(string(enforces)) != "1" {
		return ""
	}
	context, _ := os.ReadFile("/proc/self/attr/current")
	parts := strings.Split(strings.TrimRight(string(context), "\x00\n"), ":")
	if len(parts) < 3 {
		return "unknown"
	}
	return parts[2]
}

func kubeletChain(ctx context.Context) (string, error) {
	variant, err := kernel.KubeletVariant(ctx)
	return string(variant), err
}

func bridges() (found []nodecheck.Bridge, err error) {
	all, err := kernel.Bridges()
	for _, b := range all {
		found = append(found, nodecheck.Bridge(b))
	}
	return found, err
}

func conntrack(limits kernel.ConntrackLimits) (nodecheck.Conntrack, error) {
	t, err := limits.Tracked()
	if errors.Is(err, fs.ErrNotExist) {
		return nodecheck.Conntrack{Settable: true}, nil // it is not loaded yet
	}
	return nodecheck.Conntrack(t), err
}

func connections() (c nodecheck.Connections, err error) {
	t, err := kernel.ReadConnectionTable()
	if err != nil {
		return c, err
	}
	c = nodecheck.Connections{
		Count: t.Connections, Grows: t.Grows || t.MaxBuckets == 0, Buckets: t.MaxBuckets, Max: t.MaxConnections,
	}
	if !t.Grows {
		if c.Count, err = kernel.CountConnections(); errors.Is(err, fs.ErrNotExist) {
			err = nil // it is not loaded yet
		}
	}
	return c, err
}

// readLocalPorts reads "32768	60999", and "30000-32767,40000".
func readLocalPorts(f *nodecheck.Facts) {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	var r nodecheck.Range
	if err == nil {
		_, err = fmt.Sscan(string(text), &r.First, &r.Last)
	}
	f.LocalPorts = known(r, err)
	text, _ = os.ReadFile("/proc/sys/net/ipv4/ip_local_reserved_ports")
	for part := range strings.SplitSeq(strings.TrimSpace(string(text)), ",") {
		first, last, span := strings.Cut(part, "-")
		if !span {
			last = first
		}
		from, err1 := strconv.ParseUint(first, 10, 16)
		to, err2 := strconv.ParseUint(last, 10, 16)
		if err1 == nil && err2 == nil {
			f.Reserved = append(f.Reserved, nodecheck.Range{First: uint16(from), Last: uint16(to)})
		}
	}
}
