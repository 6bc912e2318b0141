package proxier

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/explain"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/iptables"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"
)

// Explanation is what Explain says.
type Explanation = explain.Explanation

// Question is which packet Explain is to explain, in an operator's words.
type Question struct {
	// From is an address, an address with a port, or "node" for a process of the node itself; "node" may be followed by
	// "=ADDRESS" for one that has chosen its source.
	From string
	// To is an address with a port.
	To string
	// Protocol is tcp, udp or sctp.
	Protocol string
	// Interface is the link by which the packet comes in, "" where it does not matter or is not known.
	Interface string
}

// packet returns the packet, or what makes no sense in the question, by the name of the flag.
func (q Question) packet() (p explain.Packet, err error) {
	protocol, err := ipset.ParseProtocol(q.Protocol)
	if err != nil {
		return p, fmt.Errorf("--protocol %q is unknown; allowed are tcp, udp, sctp", q.Protocol)
	}
	p.Protocol, p.Link = protocol, q.Interface
	if q.To == "" {
		return p, fmt.Errorf("--to is missing: want ADDRESS:PORT of a Service, such as 10.96.0.10:53 or [fd00::a]:53")
	}
	to, err := netip.ParseAddrPort(q.To)
	if err != nil {
		return p, fmt.Errorf("--to %q is no ADDRESS:PORT, such as 10.96.0.10:53 or [fd00::a]:53", q.To)
	}
	p.To = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	from, node := strings.CutPrefix(q.From, "node")
	if p.FromNode = node; node {
		address, chosen := strings.CutPrefix(from, "=")
		if from != "" && !chosen {
			return p, fmt.Errorf("--from %q: want ADDRESS, ADDRESS:PORT, node or node=ADDRESS", q.From)
		}
		from = address
	}
	if from != "" {
		if p.From, err = addressMaybePort(from); err != nil {
			return p, fmt.Errorf("--from %q: want ADDRESS, ADDRESS:PORT, node or node=ADDRESS", q.From)
		}
	}
	return p, p.Validate()
}

// addressMaybePort reads an address, with or without a port.
func addressMaybePort(text string) (netip.AddrPort, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return netip.AddrPortFrom(addr.Unmap(), 0), nil
	}
	at, err := netip.ParseAddrPort(text)
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), err
}

// CheckQuestion returns an error that names what is invalid in a question.
func CheckQuestion(q Question) error {
	_, err := q.packet()
	return err
}

// Explain reads this node's kernel, and follows a packet through it. It writes nothing, and needs no running proxier.
// Of the configuration it uses Link and Iptables.
func Explain(ctx context.Context, c Config, q Question) (Explanation, error) {
	packet, err := q.packet()
	if err != nil {
		return Explanation{}, err
	}
	by, err := c.netfilterInUse(ctx)
	if err != nil {
		return Explanation{}, err
	}
	linux, err := kernel.NewLinux(c.linux(c.dataplane(kernel.Families(by.Netfilter), dataplane.Facts{}), by.Netfilter))
	if err != nil {
		return Explanation{}, err
	}
	defer linux.Close()
	seen, err := linux.Observe()
	if err != nil {
		return Explanation{}, fmt.Errorf("read the kernel: %w", err)
	}
	connections := func(id dataplane.VirtualServerID) []dataplane.Connections {
		counts, err := linux.Connections(id)
		if err != nil {
			return nil // they matter for ceilings only
		}
		return counts
	}
	return explain.Explain(packet, seen, iptables.Words{}, connections), nil
}
