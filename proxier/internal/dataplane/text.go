package dataplane

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// Words are those of a backend for rules and for what leads to chains.
type Words interface {
	Rule(cluster.Family, Rule) string
	HookMatch(HookMatch) string
}

// plain are the words of no backend.
type plain struct{}

func (plain) Rule(_ cluster.Family, r Rule) string { return r.String() }
func (plain) HookMatch(h HookMatch) string         { return h.String() }

// Text returns the State for people and tests, one object a line in the words of ipvsadm and ipset, sorted. Equal
// States have equal texts.
func (s *State) Text() string { return s.TextIn(plain{}) }

// TextIn does so with rules in the words of a backend.
func (s *State) TextIn(words Words) string {
	var b strings.Builder
	for _, name := range sortedKeys(s.Links, compareString) {
		fmt.Fprintf(&b, "link %s\n", name)
	}
	for _, name := range sortedKeys(s.Sysctls, compareString) {
		fmt.Fprintf(&b, "sysctl %s=%s\n", name, s.Sysctls[name])
	}
	for _, name := range sortedKeys(s.Sets, compareString) {
		// Hash size and limit are not compared, so they are not shown.
		set := s.Sets[name]
		fmt.Fprintf(&b, "set %s %s", name, set.Type)
		if set.Family != 0 {
			fmt.Fprintf(&b, " %s", set.Family.Keyword())
		}
		b.WriteByte('\n')
	}
	for _, id := range sortedKeys(s.Chains, ChainID.compare) {
		fmt.Fprintf(&b, "chain %s\n", id)
		for _, rule := range s.Chains[id].Rules {
			fmt.Fprintf(&b, "  %s\n", words.Rule(id.Family, rule))
		}
	}
	for _, hook := range sortedKeys(s.Hooks, Hook.compare) {
		fmt.Fprintf(&b, "hook %s %s %s ", hook.Chain.Family, hook.Chain.Table, hook.Builtin)
		if match := words.HookMatch(hook.Match); match != "" {
			fmt.Fprintf(&b, "%s ", match)
		}
		fmt.Fprintf(&b, "-> %s\n", hook.Chain.Name)
	}
	for _, family := range sortedKeys(s.Closed, cmp.Compare[cluster.Family]) {
		fmt.Fprintf(&b, "closed %s\n", family)
	}
	b.WriteString(s.ServiceText())
	return b.String()
}

// ServiceText is the part of Text that Services decide: set entries, virtual servers with their real servers, addresses
// and routes. Real servers are sorted: their order in the kernel's list is shown by [State.ListText].
func (s *State) ServiceText() string {
	var b strings.Builder
	for _, e := range s.Entries.Sorted() {
		fmt.Fprintf(&b, "entry %s\n", e)
	}
	for _, id := range sortedKeys(s.VirtualServers, VirtualServerID.Compare) {
		v := s.VirtualServers[id]
		fmt.Fprintf(&b, "virtual-server %s %s\n", id, configText(v.Scheduler, v.Flags, v.OnePacket, v.Timeout))
		for _, r := range slices.SortedFunc(slices.Values(v.RealServers), CompareEndpoint) {
			fmt.Fprintf(&b, "  -> %s\n", r)
		}
	}
	for _, addr := range sortedKeys(s.Addresses, compareAddr) {
		fmt.Fprintf(&b, "address %s\n", addr)
	}
	for _, addr := range sortedKeys(s.Routes, compareAddr) {
		fmt.Fprintf(&b, "route %s\n", Route{addr, s.Routes[addr]})
	}
	return b.String()
}

// ListText returns the real servers of a virtual server in the order of the kernel's list.
func (s *State) ListText(id VirtualServerID) string {
	var b strings.Builder
	for _, r := range s.VirtualServers[id].RealServers {
		fmt.Fprintf(&b, "%s\n", r)
	}
	return b.String()
}
