package dataplane

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// A Listing has the objects of a State by kind and name, such as "virtual-server tcp 10.96.0.10:80", each with what it
// is set to, in words. An object with nothing to set, such as an address, has "there". Equal States have equal
// Listings. What an audit does not compare, as the hash size of a set, is not in it.
type Listing map[string]string

// there is what an object is set to that has nothing to set.
const there = "there"

// Listing returns the objects of the State, with rules in the words of a backend.
func (s *State) Listing(words Words) Listing {
	l := make(Listing, len(s.Links)+len(s.Sysctls)+len(s.Sets)+len(s.Chains)+len(s.Hooks)+4*len(s.VirtualServers))
	add := func(kind Kind, name, value string) { l[kind.String()+" "+name] = value }
	for name := range s.Links {
		add(KindLink, name, there)
	}
	for name, value := range s.Sysctls {
		add(KindSysctl, name, value)
	}
	for name, set := range s.Sets {
		value := fmt.Sprint(set.Type)
		if set.Family != 0 {
			value += " " + set.Family.Keyword()
		}
		add(KindSet, name, value)
	}
	for id, chain := range s.Chains {
		add(KindChain, id.String(), chainText(words, id.Family, chain))
	}
	for _, hook := range sortedKeys(s.Hooks, Hook.compare) {
		name := fmt.Sprintf("%s %s %s -> %s", hook.Chain.Family, hook.Chain.Table, hook.Builtin, hook.Chain.Name)
		value := cmp.Or(words.HookMatch(hook.Match), "all packets")
		if before, more := l[KindHook.String()+" "+name]; more { // several rules of one chain may lead to another
			value = before + "; " + value
		}
		add(KindHook, name, value)
	}
	for e := range s.Entries.All() {
		add(KindEntry, e.String(), there)
	}
	for id, v := range s.VirtualServers {
		add(KindVirtualServer, id.String(), configText(v.Scheduler, v.Flags, v.OnePacket, v.Timeout))
		for _, r := range v.RealServers {
			at, value, _ := strings.Cut(r.String(), " ")
			add(KindRealServer, id.String()+" -> "+at, value)
		}
	}
	for addr := range s.Addresses {
		add(KindAddress, addr.String(), there)
	}
	for addr, source := range s.Routes {
		_, value, _ := strings.Cut(Route{addr, source}.String(), " ")
		add(KindRoute, addr.String(), cmp.Or(value, there))
	}
	return l
}

// chainText is a chain's rules in their order.
func chainText(words Words, family cluster.Family, c Chain) string {
	if len(c.Rules) == 0 {
		return "empty"
	}
	var rules []string
	for _, rule := range c.Rules {
		rules = append(rules, words.Rule(family, rule))
	}
	return strings.Join(rules, "; ")
}
