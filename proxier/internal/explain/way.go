package explain

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// way is the way of one packet, as far as it has come.
type way struct {
	walker
	packet Packet
	said   Explanation
}

// Explain follows the packet through the kernel that was seen. connections returns the connection counts of a virtual
// server's real servers; nil is none known.
func Explain(
	p Packet, seen dataplane.Observation, words dataplane.Words,
	connections func(dataplane.VirtualServerID) []dataplane.Connections,
) Explanation {
	w := &way{packet: p, walker: walker{
		seen: seen, words: words, family: p.family(), protocol: p.Protocol, src: p.From, dst: p.To, link: p.Link,
		fromNode: p.FromNode,
	}}
	w.chooseSource()
	if w.limits() && w.marks() && w.input() {
		w.ipvs(connections)
	}
	return w.said
}

func (w *way) step(hook, rule, format string, args ...any) {
	w.said.Steps = append(w.said.Steps, Step{Hook: hook, Text: fmt.Sprintf(format, args...), Rule: rule})
}

// ends says what becomes of the packet, and returns false: its way ends.
func (w *way) ends(outcome Outcome, format string, args ...any) bool {
	w.said.Outcome, w.said.Client = outcome, fmt.Sprintf(format, args...)
	return false
}

// chooseSource gives a packet of the node the source that the kernel would choose: the preferred one of the VIP's
// route, else the destination itself where it is local, else an address of the node, of which nobody here knows which.
func (w *way) chooseSource() {
	if !w.fromNode || w.src.Addr().IsValid() {
		return
	}
	source, how := w.dst.Addr(), "the destination itself, which is local"
	if !w.local(source) {
		at := slices.IndexFunc(w.seen.NodeAddresses, func(a netip.Addr) bool { return a.Is4() == w.dst.Addr().Is4() })
		if at < 0 {
			return
		}
		source, how = w.seen.NodeAddresses[at], "one of the node's; the route decides which"
	}
	if preferred, is := w.seen.State.Routes[w.dst.Addr()]; is && preferred.IsValid() &&
		preferred != dataplane.UnknownSource {
		source, how = preferred, "the preferred source of the route"
	}
	w.src = netip.AddrPortFrom(source, w.src.Port())
	w.step("route", "", "the kernel gives the client the source %s: %s", source, how)
}

// hooks returns the hooks in a built-in chain that lead to ours, in the order of their chains' names where there are
// several.
func (w *way) hooks(table, builtin string) []dataplane.Hook {
	var hooks []dataplane.Hook
	for hook := range w.seen.State.Hooks {
		if hook.Chain.Family == w.family && hook.Chain.Table == table && hook.Builtin == builtin {
			hooks = append(hooks, hook)
		}
	}
	slices.SortFunc(hooks, func(a, b dataplane.Hook) int {
		if a.Last() != b.Last() {
			return map[bool]int{true: 1, false: -1}[a.Last()]
		}
		return strings.Compare(a.String(), b.String())
	})
	return hooks
}

// walk goes through our chains at a built-in one. The first verdict that ends the way counts.
func (w *way) walk(table, builtin string) (v verdict) {
	for _, hook := range w.hooks(table, builtin) {
		switch leads := w.leads(hook); leads {
		case undecided:
			v.undecided = hook.String()
		case yes:
			before := v
			v = w.chain(hook.Chain, 0)
			if v.undecided == "" {
				v.undecided = before.undecided
			}
			if v.marked == "" {
				v.marked = before.marked
			}
			if v.action != 0 {
				return v
			}
		}
	}
	return v
}

func (w *way) leads(hook dataplane.Hook) answer {
	if hook.Match.Unknown != "" {
		return undecided
	}
	all := yes
	if hook.Match.Via != (dataplane.Via{}) {
		all = w.via(hook.Match.Via)
	}
	if connection := w.match(hook.Match.Connection); connection == no {
		return no
	}
	return all
}

// limits is mangle's OUTPUT, where the node's own clients meet what others meet in INPUT.
func (w *way) limits() bool {
	if !w.fromNode {
		return true
	}
	const hook = "mangle OUTPUT"
	v := w.walk("mangle", "OUTPUT")
	if !w.follows(hook, v) {
		return false
	}
	if v.action == dataplane.Drop {
		w.step(hook, v.rule, "dropped: %s", w.whyDropped(v.rule))
		return w.ends(Dropped, "no answer, until it gives up")
	}
	w.step(hook, "", "no limit of ours holds")
	return true
}

// follows says so where a rule could not be followed, and ends the way there.
func (w *way) follows(hook string, v verdict) bool {
	if v.undecided == "" {
		return true
	}
	why := "it was written by somebody else, or by another version"
	if w.link == "" && !w.fromNode && strings.Contains(v.undecided, "-i ") {
		why = "it asks by which link the packet comes: say so with --interface"
	}
	w.step(hook, v.undecided, "this rule cannot be followed: %s", why)
	return w.ends(Unknown, "cannot be determined")
}

// whyDropped says which set decides.
func (w *way) whyDropped(rule string) string {
	switch front := w.packet.id(); {
	case w.inSet(dataplane.SetName(dataplane.SetHold, w.family), dataplane.ByDestinationPort):
		return "the scheduler of the front end is being exchanged (set HOLD); the client's next try comes through"
	case strings.Contains(rule, "NO-LOCAL"):
		return "externalTrafficPolicy is Local, and no endpoint is on this node (set NO-LOCAL)"
	case w.inSet(dataplane.SetName(dataplane.SetRestricted, w.family), dataplane.ByDestinationPort):
		return fmt.Sprintf("%s is not in the source ranges of %s (set CLIENTS)", w.src.Addr(), front)
	}
	return "by this rule"
}

// marks is nat's PREROUTING or OUTPUT: which clients are masqueraded, and whether a rule of others takes the packet
// away.
func (w *way) marks() bool {
	hook := "nat PREROUTING"
	if w.fromNode {
		hook = "nat OUTPUT"
	}
	if rule, taken := w.captured(strings.TrimPrefix(hook, "nat ")); taken {
		w.step(hook, rule, "a rule of somebody else's takes it before IPVS sees it")
		return w.ends(Captured, "whatever that rule leads to")
	}
	v := w.walk("nat", strings.TrimPrefix(hook, "nat "))
	if !w.follows(hook, v) {
		return false
	}
	known := w.inSet(dataplane.SetName(dataplane.SetFrontEnd, w.family), dataplane.ByDestinationPort)
	switch {
	case !known:
		w.step(hook, v.rule, "no front end of ours (set FRONT-END): left alone")
	case v.marked != "":
		w.step(hook, v.marked, "marked for masquerading: %s", w.whyMarked())
	default:
		w.step(hook, v.rule, "not marked for masquerading: %s", w.whyNotMarked())
	}
	return true
}

// captured returns the rule of somebody else's that takes what is for the front end.
func (w *way) captured(builtin string) (rule string, taken bool) {
	for _, c := range w.seen.Captures.Of(w.packet.id()) {
		if c.Hook == builtin {
			return strings.TrimSpace(c.Program + " " + c.Rule), true
		}
	}
	return "", false
}

func (w *way) whyMarked() string {
	switch {
	case w.inSet(dataplane.SetName(dataplane.SetNodePort, w.family), dataplane.ByDestinationPort):
		return "the front end is a node port with the policy Cluster"
	case w.inSet(dataplane.SetName(dataplane.SetExternalIP, w.family), dataplane.ByDestinationPort):
		return "the front end is an external or load balancer's address with the policy Cluster"
	case w.local(w.src.Addr()):
		return "the client is this node"
	}
	return "the client is no pod (or --masquerade-all)"
}

func (w *way) whyNotMarked() string {
	switch {
	case w.src.Addr().IsLoopback():
		return "the source is a loopback address"
	case w.inSet(dataplane.SetName(dataplane.SetLocal, w.family), dataplane.ByDestinationPort):
		return "externalTrafficPolicy is Local: the client keeps its address"
	}
	return "the client is a pod, or nobody knows which clients are"
}

// input is filter's INPUT, where packets that came in meet our limits. A packet of the node goes on to IPVS before.
func (w *way) input() bool {
	_, ours := w.seen.State.VirtualServers[w.packet.id()]
	_, others := w.seen.Foreign[w.packet.id()]
	served := ours || others
	if !w.fromNode && !w.local(w.dst.Addr()) {
		w.step("route", "", "%s is no address of this node", w.dst.Addr())
		return w.ends(NoFront, "whatever answers at %s: the packet is routed there, and no Service is concerned", w.dst)
	}
	if w.fromNode && served {
		return true
	}
	if w.fromNode {
		if !w.local(w.dst.Addr()) {
			w.step("route", "", "%s is no address of this node", w.dst.Addr())
			return w.ends(NoFront, "whatever answers at %s: the packet is routed there, and no Service is concerned", w.dst)
		}
		w.link, w.fromNode = "lo", false // it comes in again
	}
	const hook = "filter INPUT"
	v := w.walk("filter", "INPUT")
	if !w.follows(hook, v) {
		return false
	}
	switch v.action {
	case dataplane.Drop:
		w.step(hook, v.rule, "dropped: %s", w.whyDropped(v.rule))
		return w.ends(Dropped, "no answer, until it gives up")
	case dataplane.Reject:
		w.step(hook, v.rule, "rejected: %s is a Service's address, and no Service has this port", w.dst.Addr())
		return w.ends(Rejected, "refused at once (port unreachable)")
	}
	if _, closed := w.seen.State.Closed[w.family]; closed && v.action != dataplane.Accept {
		w.step(hook, "", "the policy is not ACCEPT, and no rule of ours lets it in: rules of others decide")
	} else {
		w.step(hook, "", "nothing of ours drops it")
	}
	if !served {
		return w.ends(NoFront, "what listens on the node at %s, else refused: no virtual server has it", w.dst)
	}
	return true
}
