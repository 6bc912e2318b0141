package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	wire "github.com/ipvs-proxier/ipvs-proxier/internal/ipvs"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// LinuxConfig is what NewLinux needs.
type LinuxConfig struct {
	Link     string
	Families []cluster.Family
	// Sysctls are the names of the parameters that Observe reads.
	Sysctls []string
	// Exclude are networks in which an address on our link does not make a virtual server ours.
	Exclude []netip.Prefix
	// IgnoreLinks are links whose addresses are not the node's, such as another proxy's dummy link.
	IgnoreLinks []string
	// Netfilter is what holds our sets and rules; Iptables where it is empty.
	Netfilter Netfilter
}

// Linux is the kernel of the network namespace of the process. One goroutine uses it at a time; see [Linux.OpenReader].
type Linux struct {
	config    LinuxConfig
	ipvs      *ipvs
	link      *link
	netfilter netfilter
	conntrack *conntrack
	// beside is the traffic of the Readers.
	beside *trafficSum
	// servers, entries and addresses are how many there were at the last look.
	servers, entries, addresses int
}

// Traffic counts the requests to the kernel so far.
type Traffic struct {
	// Messages is the number of netlink requests, Sends that of the system calls that carried them, Processes that of
	// the programs started (iptables and its relatives).
	Messages, Sends, Processes uint64
}

// NewLinux opens the sockets. It changes nothing.
func NewLinux(c LinuxConfig) (*Linux, error) {
	k := &Linux{config: c, beside: &trafficSum{}}
	var err error
	if k.ipvs, err = newIPVS(); err != nil {
		return nil, err
	}
	if k.link, err = newLink(c.Link, c.IgnoreLinks); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	if k.netfilter, err = newNetfilter(c.Netfilter, c.Families); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	if k.conntrack, err = newConntrack(); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	return k, nil
}

// Close closes the sockets and leaves the kernel as it is.
func (k *Linux) Close() error {
	var errs []error
	if k.ipvs != nil {
		errs = append(errs, k.ipvs.close())
	}
	if k.link != nil {
		errs = append(errs, k.link.close())
	}
	if k.netfilter != nil {
		errs = append(errs, k.netfilter.close())
	}
	if k.conntrack != nil {
		errs = append(errs, k.conntrack.socket.Close())
	}
	return errors.Join(errs...)
}

// Traffic returns the counters.
func (k *Linux) Traffic() Traffic {
	beside, own := k.beside.load(), k.own()
	return Traffic{own.Messages + beside.Messages, own.Sends + beside.Sends, own.Processes + beside.Processes}
}

func (k *Linux) own() Traffic {
	t := k.netfilter.traffic()
	return Traffic{
		Messages:  t.Messages + k.ipvs.socket.Messages + k.link.messages() + k.conntrack.socket.Messages,
		Sends:     t.Sends + k.ipvs.socket.Sends + k.link.sends() + k.conntrack.socket.Sends,
		Processes: t.Processes,
	}
}

// NodeAddresses implements dataplane.Kernel.
func (k *Linux) NodeAddresses() (addresses, broadcasts []netip.Addr, err error) {
	if _, _, addresses, err = k.link.observe(); err != nil {
		return nil, nil, fmt.Errorf("list addresses: %w", err)
	}
	if broadcasts, err = k.link.broadcasts(); err != nil {
		return nil, nil, fmt.Errorf("list broadcast addresses: %w", err)
	}
	return addresses, broadcasts, nil
}

// VirtualServer implements dataplane.Kernel.
func (k *Linux) VirtualServer(id dataplane.VirtualServerID) (v dataplane.VirtualServer, present bool, err error) {
	if v, present, err = k.ipvs.virtualServer(id); err != nil {
		return v, false, fmt.Errorf("read virtual server %s: %w", id, err)
	}
	return v, present, nil
}

// Connections implements dataplane.Kernel.
func (k *Linux) Connections(id dataplane.VirtualServerID) ([]dataplane.Connections, error) {
	var counts []dataplane.Connections
	err := k.ipvs.destinations(id, func() { counts = nil },
		func(d wire.Destination) { counts = append(counts, connections(d)) })
	if err != nil {
		return nil, fmt.Errorf("list real servers of %s: %w", id, err)
	}
	return counts, nil
}

// Apply implements dataplane.Kernel. Neighbouring operations of one subsystem go out together; the order of all is
// kept.
func (k *Linux) Apply(ops []dataplane.Op) []error {
	errs := make([]error, 0, len(ops))
	for len(ops) > 0 {
		n := 1
		for n < len(ops) && k.subsystem(ops[n]) == k.subsystem(ops[0]) {
			n++
		}
		run := ops[:n]
		for i, err := range k.applyRun(run) {
			if err != nil {
				err = fmt.Errorf("%s: %w", run[i], err)
			}
			errs = append(errs, err)
		}
		ops = ops[n:]
	}
	return errs
}

// subsystem says which operations can go out together.
func (k *Linux) subsystem(op dataplane.Op) string {
	switch op.Object.(type) {
	case dataplane.VirtualServerObject, dataplane.RealServerObject:
		return "ipvs"
	case dataplane.Address:
		return "address"
	case dataplane.Route:
		return "route"
	}
	if isNetfilter(op) {
		return k.netfilter.together(op)
	}
	return op.String()
}

func (k *Linux) applyRun(run []dataplane.Op) []error {
	switch run[0].Object.(type) {
	case dataplane.VirtualServerObject, dataplane.RealServerObject:
		return k.ipvs.apply(run)
	case dataplane.Address:
		return k.link.applyAddresses(run)
	case dataplane.Route:
		return k.link.applyRoutes(run)
	}
	if isNetfilter(run[0]) {
		return k.netfilter.apply(run)
	}
	// The rest is rare: one at a time, equal ones only by mistake.
	errs := make([]error, len(run))
	for i, op := range run {
		errs[i] = k.applyOne(op)
	}
	return errs
}

func (k *Linux) applyOne(op dataplane.Op) error {
	gone := op.Verb == dataplane.Delete
	switch o := op.Object.(type) {
	case dataplane.Link:
		if gone {
			return k.link.delete()
		}
		return k.link.create()
	case dataplane.Sysctl:
		return k.setSysctl(o.Name, o.Value)
	}
	return fmt.Errorf("BUG: operation on unknown object %T", op.Object)
}

// sortAddrs sorts and drops repetitions.
func sortAddrs(addrs []netip.Addr) []netip.Addr {
	slices.SortFunc(addrs, netip.Addr.Compare)
	return slices.Compact(addrs)
}
