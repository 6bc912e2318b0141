package predecessor

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	vnl "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/ipset/client"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// Ledger says which virtual servers a proxy has made. Its zero value owns none.
type Ledger struct {
	frontEnds map[dataplane.VirtualServerID]struct{}
	addresses map[netip.Addr]struct{} // on the proxy's link
	nodePorts map[nodePort]struct{}
	node      map[netip.Addr]struct{} // addresses of all other links
}

type nodePort struct {
	family   cluster.Family
	protocol cluster.Protocol
	port     uint16
}

// ReadLedger reads from the kernel what distinguishes the proxy's virtual servers from others': the addresses on its
// link, the sets of its front ends, and its node ports, which count on every address of the node. Read it before
// anything of the proxy's is removed.
func ReadLedger(proxy Proxy) (Ledger, error) {
	of, known := traces[proxy]
	if !known {
		return Ledger{}, fmt.Errorf("BUG: %q is not a proxy that can be succeeded", proxy)
	}
	l := Ledger{
		frontEnds: map[dataplane.VirtualServerID]struct{}{}, addresses: map[netip.Addr]struct{}{},
		nodePorts: map[nodePort]struct{}{}, node: map[netip.Addr]struct{}{},
	}
	if err := l.readAddresses(of.link); err != nil {
		return Ledger{}, fmt.Errorf("list addresses: %w", err)
	}
	if err := l.readSets(of); err != nil {
		return Ledger{}, fmt.Errorf("read the sets of %s: %w", proxy, err)
	}
	return l, nil
}

// Owns reports whether the virtual server is the proxy's.
func (l Ledger) Owns(id dataplane.VirtualServerID) bool {
	if _, owned := l.addresses[id.Addr]; owned {
		return true
	}
	if _, owned := l.frontEnds[id]; owned {
		return true
	}
	_, local := l.node[id.Addr]
	_, owned := l.nodePorts[nodePort{cluster.FamilyOf(id.Addr), id.Protocol, id.Port}]
	return local && owned
}

func (l *Ledger) readAddresses(link string) error {
	index := 0
	found, err := vnl.LinkByName(link)
	if missing := (vnl.LinkNotFoundError{}); err == nil {
		index = found.Attrs().Index
	} else if !errors.As(err, &missing) {
		return err
	}
	addresses, err := vnl.AddrList(nil, unix.AF_UNSPEC)
	for tries := 1; errors.Is(err, vnl.ErrDumpInterrupted) && tries < 5; tries++ { // an address came or went meanwhile
		addresses, err = vnl.AddrList(nil, unix.AF_UNSPEC)
	}
	if err != nil {
		return err
	}
	for _, a := range addresses {
		addr, ok := netip.AddrFromSlice(a.IP)
		switch addr = addr.Unmap(); {
		case !ok || addr.IsLinkLocalUnicast() && addr.Is6():
		case a.LinkIndex == index:
			l.addresses[addr] = struct{}{}
		default:
			l.node[addr] = struct{}{}
		}
	}
	return nil
}

func (l *Ledger) readSets(of trace) error {
	sets, err := client.New()
	if err != nil {
		return err
	}
	defer sets.Close()
	existing, err := listSets(of)
	if err != nil {
		return err
	}
	for _, set := range existing {
		family, name := cluster.IPv4, set.Name
		if at := slices.IndexFunc(of.sets, func(v4 string) bool { return of.setName6(v4) == set.Name }); at >= 0 {
			family, name = cluster.IPv6, of.sets[at]
		}
		protocol, isNodePorts := of.nodePorts[name]
		isNodePorts = isNodePorts && set.Type == ipset.BitmapPort
		isFrontEnds := slices.Contains(of.frontEnds, name) && set.Type == ipset.HashIPPort
		if !isNodePorts && !isFrontEnds {
			continue
		}
		entries, err := sets.Entries(set)
		if err != nil {
			return fmt.Errorf("set %s: %w", set.Name, err)
		}
		for _, e := range entries {
			if isNodePorts {
				l.nodePorts[nodePort{family, protocol, e.Port}] = struct{}{}
			} else {
				l.frontEnds[dataplane.VirtualServerID{Addr: e.Addr, Port: e.Port, Protocol: e.Protocol}] = struct{}{}
			}
		}
	}
	return nil
}
