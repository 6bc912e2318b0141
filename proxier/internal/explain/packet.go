package explain

import (
	"fmt"
	"net/netip"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// Packet is the first packet of a connection.
type Packet struct {
	Protocol cluster.Protocol
	// From is the client. The address may be invalid where FromNode is set: then the kernel chooses it. The port may be
	// 0, for any.
	From netip.AddrPort
	// FromNode says that a process in the node's own network sends it. Without it the packet comes in by a link.
	FromNode bool
	// Link is the name of that link, "" where it is not known.
	Link string
	To   netip.AddrPort
}

func (p Packet) family() cluster.Family { return cluster.FamilyOf(p.To.Addr()) }

func (p Packet) id() dataplane.VirtualServerID {
	return dataplane.VirtualServerID{Addr: p.To.Addr(), Port: p.To.Port(), Protocol: p.Protocol}
}

// Validate returns an error that names what is invalid in the packet, by the names of the command's flags.
func (p Packet) Validate() error {
	switch {
	case !p.To.Addr().IsValid() || p.To.Port() == 0:
		return fmt.Errorf("--to: want ADDRESS:PORT of a Service, such as 10.96.0.10:53 or [fd00::a]:53")
	case p.To.Addr().IsUnspecified() || p.To.Addr().IsMulticast():
		return fmt.Errorf("--to %s: no connection goes to that address; want one unicast address", p.To.Addr())
	case p.To.Addr().Zone() != "" || p.From.Addr().Zone() != "":
		return fmt.Errorf("addresses have no zone here; say by which link the packet comes with --interface")
	case !p.FromNode && !p.From.Addr().IsValid():
		return fmt.Errorf("--from: want ADDRESS, ADDRESS:PORT or node")
	case p.FromNode && p.Link != "":
		return fmt.Errorf("--interface %s: what the node itself sends comes in by no link", p.Link)
	case !p.From.Addr().IsValid():
		return nil
	case p.From.Addr().IsUnspecified() || p.From.Addr().IsMulticast():
		return fmt.Errorf("--from %s: nobody sends from that address; want a unicast address, or node", p.From.Addr())
	case cluster.FamilyOf(p.From.Addr()) != p.family():
		return fmt.Errorf("--from %s and --to %s are not of one address family", p.From.Addr(), p.To.Addr())
	}
	return nil
}

// Outcome is what becomes of a packet.
type Outcome string

// The outcomes.
const (
	Served   Outcome = "served"       // a real server gets it
	Dropped  Outcome = "dropped"      // the client hears nothing
	Rejected Outcome = "rejected"     // a rule answers that the port is unreachable
	Refused  Outcome = "refused"      // IPVS answers so: no real server takes it
	Captured Outcome = "captured"     // a rule of somebody else's sends it elsewhere
	NoFront  Outcome = "no front end" // no virtual server takes it: it goes on without IPVS
	Unknown  Outcome = "unknown"      // a rule decides that cannot be followed
)

// Step is one place on the way.
type Step struct {
	// Hook is where: table and built-in chain, such as "nat PREROUTING", or "IPVS".
	Hook string `json:"hook"`
	// Text is what happens there; Rule the rule that decides, in the words of the backend, where one does.
	Text string `json:"text"`
	Rule string `json:"rule,omitempty"`
}

// Candidate is a real server of the virtual server.
type Candidate struct {
	Address string `json:"address"`
	Weight  uint32 `json:"weight"`
	// Chosen is true where the packet goes there for certain: the only candidate, or what a hash gives for this client.
	Chosen bool `json:"chosen,omitempty"`
	// Excluded says why it gets no new connection; "" where it may.
	Excluded string `json:"excluded,omitempty"`
	// Masquerade says that it sees an address of the node instead of the client's; Rule why, or why not.
	Masquerade bool   `json:"masquerade"`
	Rule       string `json:"rule,omitempty"`
}

// Explanation is what becomes of a packet, step by step.
type Explanation struct {
	Steps      []Step      `json:"steps"`
	Candidates []Candidate `json:"candidates,omitempty"`
	Outcome    Outcome     `json:"outcome"`
	// Client is what the client sees, in a sentence.
	Client string `json:"client"`
}
