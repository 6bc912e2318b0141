package explain

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler/hashing"
)

// ipvs is the virtual server: which endpoints it may choose, and what POSTROUTING does to the packet on its way there.
func (w *way) ipvs(connections func(dataplane.VirtualServerID) []dataplane.Connections) {
	id := w.packet.id()
	v, ours := w.seen.State.VirtualServers[id]
	whose := "ours"
	if !ours {
		v, whose = w.seen.Foreign[id], "somebody else's"
	}
	text := fmt.Sprintf("virtual server %s, %s, scheduler %s", id, whose, v.Scheduler)
	if v.Flags != 0 {
		text += fmt.Sprintf(" (%s)", v.Flags)
	}
	if v.Timeout > 0 {
		text += fmt.Sprintf("; a client that came within the last %d s goes where it went then", v.Timeout)
	}
	if v.OnePacket {
		text += "; each datagram is a connection of its own"
	}
	w.step("IPVS", "", "%s", text)
	var counts []dataplane.Connections
	if connections != nil {
		counts = connections(id)
	}
	able := w.candidates(v, counts)
	if able == 0 {
		why := "it has no real server"
		if len(v.RealServers) > 0 {
			why = "none of its real servers takes new connections"
		}
		w.step("IPVS", "", "refused: %s", why)
		w.ends(Refused, "refused at once (port unreachable): %s", why)
		return
	}
	if !w.choose(v, able) || !w.postrouting() {
		return
	}
	w.ends(Served, "%s", w.whoAnswers())
}

// candidates fills in the real servers, and returns how many take new connections.
func (w *way) candidates(v dataplane.VirtualServer, counts []dataplane.Connections) (able int) {
	for _, r := range v.RealServers {
		c := Candidate{Address: netip.AddrPortFrom(r.Addr, r.Port).String(), Weight: r.Weight}
		switch {
		case r.Weight == 0:
			c.Excluded = "weight 0: it drains, or was given none"
		case r.Upper > 0 && open(counts, r) >= r.Upper:
			c.Excluded = fmt.Sprintf("it has its ceiling of %d connections; it takes new ones below %d", r.Upper, r.Lower)
		default:
			able++
		}
		w.said.Candidates = append(w.said.Candidates, c)
	}
	return able
}

// open is how many connections the kernel holds against the ceiling: active and inactive ones
// (include/net/ip_vs.h, ip_vs_dest_conn_overhead's callers; net/netfilter/ipvs/ip_vs_conn.c, ip_vs_bind_dest).
func open(counts []dataplane.Connections, r dataplane.RealServer) uint32 {
	for _, c := range counts {
		if c.Addr == r.Addr && c.Port == r.Port {
			return c.Active + c.Inactive
		}
	}
	return 0
}

// choose marks the candidate that the packet goes to, where that is certain. It returns false where a hash leads to one
// that takes no new connections.
func (w *way) choose(v dataplane.VirtualServer, able int) bool {
	s, _ := scheduler.OfKernel(v.Scheduler)
	if able == 1 && s.Idle == scheduler.IdleSkipped {
		for i := range w.said.Candidates {
			if w.said.Candidates[i].Excluded == "" {
				w.said.Candidates[i].Chosen = true
				w.step("IPVS", "", "%s is the only one that takes new connections", w.said.Candidates[i].Address)
			}
		}
		return true
	}
	var list []hashing.RealServer
	for _, r := range v.RealServers {
		list = append(list, hashing.RealServer{Addr: r.Addr, Port: r.Port, Weight: r.Weight, LastWeight: r.Weight})
	}
	table, has := hashing.New(v.Scheduler, v.Flags, list)
	switch {
	case !has && s.Idle != scheduler.IdleSkipped && able < len(list):
		w.step("IPVS", "", "%s goes by a table of %d, of which %d take new connections; it may refuse the others' clients",
			v.Scheduler, len(list), able)
	case !has:
		w.step("IPVS", "", "%s chooses among %d; which one hangs on what else is open at that moment", v.Scheduler, able)
	case v.Flags&scheduler.Port != 0 && w.src.Port() == 0:
		w.step("IPVS", "", "%s chooses by the client's address and port; say the port with --from to learn which", v.Scheduler)
	default:
		index, ok := table.Choose(w.src)
		if !ok {
			w.step("IPVS", "", "refused: %s leads %s to a real server that takes no new connections", v.Scheduler, w.src.Addr())
			return w.ends(Refused, "refused at once (port unreachable): its endpoint by %s takes no new connections", v.Scheduler)
		}
		w.said.Candidates[index].Chosen = true
		w.step("IPVS", "", "%s leads %s to %s", v.Scheduler, w.src.Addr(), w.said.Candidates[index].Address)
	}
	return true
}

// postrouting says of each candidate whether it sees the client. It returns false where that cannot be determined.
func (w *way) postrouting() bool {
	const hook = "nat POSTROUTING"
	service, mark := w.dst, w.mark
	defer func() { w.dst = service }()
	w.byIPVS = true
	masqueraded, able := 0, 0
	for i := range w.said.Candidates {
		c := &w.said.Candidates[i]
		w.mark, w.dst = mark, netip.MustParseAddrPort(c.Address)
		if !w.fromNode && slices.Contains(w.seen.NodeAddresses, w.dst.Addr()) {
			// It came in by INPUT, and goes on there (net/netfilter/ipvs/ip_vs_xmit.c, ip_vs_nat_send_or_cont, Linux
			// 6.12).
			c.Rule = "an endpoint in the node's own network: the packet does not come to POSTROUTING"
			if c.Excluded == "" {
				able++
			}
			continue
		}
		v := w.walk("nat", "POSTROUTING")
		if v.undecided != "" {
			w.dst = service
			return w.follows(hook, v)
		}
		// Masquerading leaves a client that has the address of the way out already.
		c.Masquerade, c.Rule = v.action == dataplane.Masquerade, v.rule
		if c.Excluded == "" {
			able++
			if c.Masquerade {
				masqueraded++
			}
		}
	}
	switch {
	case masqueraded == 0:
		w.step(hook, "", "not masqueraded: the endpoint sees %s", w.src.Addr())
	case masqueraded == able:
		w.step(hook, w.firstMasquerade(), "masqueraded: the endpoint sees this node's address on the way to it")
	default:
		w.step(hook, w.firstMasquerade(), "masqueraded to %d of %d endpoints, which would answer themselves else",
			masqueraded, able)
	}
	return true
}

func (w *way) firstMasquerade() string {
	for _, c := range w.said.Candidates {
		if c.Masquerade && c.Excluded == "" {
			return c.Rule
		}
	}
	return ""
}

// whoAnswers is what the client sees of a Service that takes it.
func (w *way) whoAnswers() string {
	able := 0
	for _, c := range w.said.Candidates {
		if c.Chosen {
			return fmt.Sprintf("an answer of %s, from %s", c.Address, w.packet.To)
		}
		if c.Excluded == "" {
			able++
		}
	}
	text := fmt.Sprintf("an answer of one of %d endpoints, from %s", able, w.packet.To)
	if w.protocol == cluster.TCP {
		text += "; what fails at the endpoint itself is not known here"
	}
	return text
}
