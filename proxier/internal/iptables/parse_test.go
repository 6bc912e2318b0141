package iptables

import (
	"slices"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// foundations are those of all that an operator can choose, as far as it changes rules.
func foundations() (all []*dataplane.State) {
	pods := []dataplane.Pods{{}, {Bridge: "cbr0"}, {InterfacePrefix: "cali"}}
	for i := range 1 << 4 {
		for _, p := range pods {
			c := dataplane.Config{Link: "kube-ipvs0", Families: []cluster.Family{
				cluster.IPv4, cluster.IPv6,
			}, Pods: p, MasqueradeMark: 1 << i, AnswerPing: i&1 != 0, MasqueradeAll: i&2 != 0}
			if i&4 != 0 {
				c.MasqueradePorts = [2]uint16{32768, 65535}
			}
			c.Facts = dataplane.Facts{KernelMajor: 4 + i&8, RandomFully: true, IPVSMatch: i&8 != 0}
			all = append(all, dataplane.Foundation(c))
		}
	}
	return all
}

// TestRulesAreReadAsTheyWereWritten: each of our rules and hooks comes back as what it was.
func TestRulesAreReadAsTheyWereWritten(t *testing.T) {
	for _, s := range foundations() {
		for id, chain := range s.Chains {
			for _, rule := range chain.Rules {
				text := Words{}.Rule(id.Family, rule)
				if got := ParseRule(id.Family, text); !got.Equal(rule) {
					t.Errorf("%s: %q became %v, want %v", id, text, got, rule)
				}
			}
		}
		for hook := range s.Hooks {
			text := Words{}.HookMatch(hook.Match)
			if got := ParseHookMatch(text); got != hook.Match {
				t.Errorf("%s: %q became %+v", hook, text, got)
			}
		}
	}
}

// TestUnknownRules keep their words, and it is known what they need.
func TestUnknownRules(t *testing.T) {
	const text = `-m set --match-set IPVSP-OLD dst,dst -m comment --comment "-j IPVSP-NOT" -m set ! --match-set IPVSP-NET src -g IPVSP-GONE`
	for _, family := range []cluster.Family{cluster.IPv4, cluster.IPv6} {
		chain := dataplane.Chain{
			Rules: []dataplane.Rule{
				ParseRule(family, text), {Verdict: dataplane.Verdict{Action: dataplane.Jump, Chain: "IPVSP-A"}},
			},
		}
		chain.References()
		if got := (Words{}).Rule(family, chain.Rules[0]); got != text {
			t.Errorf("%q became %q", text, got)
		}
		if !slices.Equal(chain.Sets, []string{"IPVSP-OLD", "IPVSP-NET"}) ||
			!slices.Equal(chain.Jumps, []string{"IPVSP-GONE", "IPVSP-A"}) {
			t.Errorf("sets %v, chains %v", chain.Sets, chain.Jumps)
		}
	}
}

// FuzzParseRule: whatever a rule says, it is written as it was read.
func FuzzParseRule(f *testing.F) {
	for _, s := range foundations()[:3] {
		for id, chain := range s.Chains {
			for _, rule := range chain.Rules {
				f.Add(Words{}.Rule(id.Family, rule), id.Family == cluster.IPv6)
			}
		}
	}
	f.Add("-j MARK --set-xmark", false)
	f.Add("", true)
	f.Fuzz(func(t *testing.T, text string, v6 bool) {
		family := cluster.IPv4
		if v6 {
			family = cluster.IPv6
		}
		if got := (Words{}).Rule(family, ParseRule(family, text)); got != text {
			t.Errorf("%q became %q", text, got)
		}
		if got := (Words{}).HookMatch(ParseHookMatch(text)); got != text {
			t.Errorf("%q became %q", text, got)
		}
	})
}
