package dataplane

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// anyState returns every state that an endpoint can be in.
func anyState() (all []cluster.Endpoint) {
	for bits := range 16 {
		for node := range cluster.HintHere + 1 {
			for zone := range cluster.HintHere + 1 {
				all = append(all, cluster.Endpoint{
					Ready: bits&1 != 0, Serving: bits&2 != 0, Terminating: bits&4 != 0, Local: bits&8 != 0, Remote: bits&8 == 0,
					NodeHint: node, ZoneHint: zone,
				})
			}
		}
	}
	return all
}

func addresses(endpoints []cluster.Endpoint) string {
	var text []string
	for _, e := range endpoints {
		text = append(text, e.Addr.String())
	}
	return strings.Join(text, " ")
}

func where(endpoints []cluster.Endpoint, is func(cluster.Endpoint) bool) []cluster.Endpoint {
	return slices.DeleteFunc(slices.Clone(endpoints), func(e cluster.Endpoint) bool { return !is(e) })
}

// TestChooseOfAllPairs goes through every pair of states that two endpoints can have, and compares them with the rules
// as they are written: KEP-1669 for what terminates, KEP-2433 and KEP-3015 for hints, KEP-2086 for local policies.
func TestChooseOfAllPairs(t *testing.T) {
	ready := func(e cluster.Endpoint) bool { return e.Ready }
	lastResort := func(e cluster.Endpoint) bool { return !e.Ready && e.Serving && e.Terminating }
	local := func(e cluster.Endpoint) bool { return e.Local }
	states := anyState()
	for _, a := range states {
		for _, b := range states {
			a.Addr, b.Addr = netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
			// The ready one of the other family must not matter: without hints it would also end all hints.
			other := cluster.Endpoint{Addr: netip.MustParseAddr("fd00::1"), Ready: true, Local: true}
			both := []cluster.Endpoint{a, b}

			wantCluster := where(both, ready)
			hinted := false
			for _, hint := range []func(cluster.Endpoint) cluster.Hint{
				func(e cluster.Endpoint) cluster.Hint { return e.NodeHint },
				func(e cluster.Endpoint) cluster.Hint { return e.ZoneHint },
			} {
				without := where(where(both, ready), func(e cluster.Endpoint) bool { return hint(e) == cluster.NoHint })
				here := where(where(both, ready), func(e cluster.Endpoint) bool { return hint(e) == cluster.HintHere })
				if !hinted && len(without) == 0 && len(here) > 0 {
					wantCluster, hinted = here, true
				}
			}
			if len(wantCluster) == 0 {
				wantCluster = where(both, lastResort)
			}
			wantLocal := where(where(both, local), ready)
			if len(wantLocal) == 0 {
				wantLocal = where(where(both, local), lastResort)
			}
			got := choose([]cluster.Endpoint{a, other, b}, cluster.IPv4, nil, nil)
			if addresses(got.cluster) != addresses(wantCluster) || addresses(got.local) != addresses(wantLocal) {
				t.Errorf("%+v\nand %+v:\ncluster %q, want %q; local %q, want %q", a, b,
					addresses(got.cluster), addresses(wantCluster), addresses(got.local), addresses(wantLocal))
			}
			if six := choose([]cluster.Endpoint{a, other, b}, cluster.IPv6, nil, nil); addresses(six.cluster) != "fd00::1" ||
				addresses(six.local) != "fd00::1" {
				t.Errorf("IPv6 beside %+v and %+v: %q, %q", a, b, addresses(six.cluster), addresses(six.local))
			}
		}
	}
}

// TestChoose has the cases that people ask about, by name. An endpoint is written as its state: "ready", "dead",
// "leaving" (it terminates and serves), then "here" or "away", then its hints: "node" or "zone" for this node's,
// "othernode", "otherzone".
func TestChoose(t *testing.T) {
	for name, c := range map[string]struct{ endpoints, cluster, local string }{
		"none":                                   {"", "", ""},
		"row 60: ready and leaving":              {"leaving here, ready away", "2", "1"},
		"row 61: leaving and dead":               {"leaving here, dead here", "1", "1"},
		"row 62: all terminate, none serves":     {"dead here, dead away", "", ""},
		"all leave":                              {"leaving here, leaving away", "1 2", "1"},
		"row 63: all hint at zones":              {"ready away zone, ready away otherzone, ready here zone", "1 3", "3"},
		"one has no hint":                        {"ready away zone, ready away", "1 2", ""},
		"row 65: no zone is ours":                {"ready away otherzone, ready here otherzone", "1 2", "2"},
		"row 66: nodes before zones":             {"ready away zone othernode, ready here zone node", "2", "2"},
		"nodes hint elsewhere, zones here":       {"ready away zone othernode, ready away otherzone othernode", "1", ""},
		"hints of those not ready do not matter": {"dead here, ready away zone, ready away otherzone", "2", ""},
		"leaving ones have no topology":          {"leaving away otherzone, leaving here zone", "1 2", "2"},
		"local policies have no topology":        {"ready here otherzone, ready away zone", "2", "1"},
	} {
		var endpoints []cluster.Endpoint
		for i, text := range strings.Split(c.endpoints, ", ") {
			if text == "" {
				continue
			}
			e := cluster.Endpoint{Addr: netip.MustParseAddr(fmt.Sprintf("10.0.0.%d", i+1))}
			for word := range strings.FieldsSeq(text) {
				switch word {
				case "ready":
					e.Ready, e.Serving = true, true
				case "leaving":
					e.Serving, e.Terminating = true, true
				case "dead":
					e.Terminating = true
				case "here":
					e.Local = true
				case "away":
					e.Remote = true
				case "node":
					e.NodeHint = cluster.HintHere
				case "othernode":
					e.NodeHint = cluster.HintElsewhere
				case "zone":
					e.ZoneHint = cluster.HintHere
				case "otherzone":
					e.ZoneHint = cluster.HintElsewhere
				default:
					t.Fatalf("%s: %q", name, word)
				}
			}
			endpoints = append(endpoints, e)
		}
		got := choose(endpoints, cluster.IPv4, nil, nil)
		short := func(list []cluster.Endpoint) string { return strings.ReplaceAll(addresses(list), "10.0.0.", "") }
		if short(got.cluster) != c.cluster || short(got.local) != c.local {
			t.Errorf("%s: cluster %q, want %q; local %q, want %q",
				name, short(got.cluster), c.cluster, short(got.local), c.local)
		}
	}
}

// TestFatesAreWhatIsChosen: of every pair of endpoints, under each pair of policies, those are said to be left out that
// front ends do not get, and no others.
func TestFatesAreWhatIsChosen(t *testing.T) {
	reasons := map[LeftOut]bool{}
	states := anyState()
	for _, a := range states {
		for _, b := range states {
			a.Addr, b.Addr = netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
			both := []cluster.Endpoint{a, b}
			for policies := range 4 {
				s := cluster.Service{InternalLocal: policies&1 != 0, ExternalLocal: policies&2 != 0}
				c := choose(both, cluster.IPv4, nil, nil)
				internal, _ := c.internal(s.InternalLocal)
				external, _ := c.external(s.ExternalLocal)
				for _, fate := range Fates(&s, &cluster.ServicePort{Endpoints: both}) {
					is := func(e cluster.Endpoint) bool { return e.Addr == fate.Addr }
					if slices.ContainsFunc(internal, is) != (fate.Internal == "") ||
						slices.ContainsFunc(external, is) != (fate.External == "") {
						t.Fatalf("%+v\nand %+v, policies %+v:\n%s is left out by cluster IPs for %q, by others for %q",
							a, b, s, fate.Addr, fate.Internal, fate.External)
					}
					reasons[fate.Internal], reasons[fate.External] = true, true
				}
			}
		}
	}
	for _, why := range []LeftOut{"", NotReady, NotServing, OthersReady, ElsewhereLocal, HintsNode, HintsZone} {
		if !reasons[why] {
			t.Errorf("no pair of endpoints is left out because %s", why)
		}
	}
}

// TestFatesSayWhy: the reason is the one that an operator can do something about.
func TestFatesSayWhy(t *testing.T) {
	ready := cluster.Endpoint{Addr: netip.MustParseAddr("10.0.0.1"), Ready: true, Serving: true, Local: true}
	for name, c := range map[string]struct {
		change             func(*cluster.Endpoint)
		internal, external LeftOut
	}{
		"as good":               {func(e *cluster.Endpoint) { e.Local = true }, "", ""},
		"not ready":             {func(e *cluster.Endpoint) { e.Local, e.Ready = true, false }, NotReady, NotReady},
		"leaving":               {func(e *cluster.Endpoint) { e.Local, e.Ready, e.Terminating = true, false, true }, OthersReady, OthersReady},
		"dead":                  {func(e *cluster.Endpoint) { e.Local, e.Ready, e.Serving, e.Terminating = true, false, false, true }, NotServing, NotServing},
		"elsewhere":             {func(e *cluster.Endpoint) { e.Remote = true }, "", ElsewhereLocal},
		"elsewhere, unready":    {func(e *cluster.Endpoint) { e.Remote, e.Ready = true, false }, NotReady, ElsewhereLocal},
		"nobody says where":     {func(*cluster.Endpoint) {}, "", NowhereLocal},
		"of the other family":   {func(e *cluster.Endpoint) { e.Addr, e.Remote = netip.MustParseAddr("fd00::2"), true }, "", ""},
		"the same, not serving": {func(e *cluster.Endpoint) { e.Addr, e.Ready, e.Serving = netip.MustParseAddr("fd00::2"), false, false }, NotReady, NowhereLocal},
	} {
		e := cluster.Endpoint{Addr: netip.MustParseAddr("10.0.0.2"), Ready: true, Serving: true}
		c.change(&e)
		fates := Fates(&cluster.Service{ExternalLocal: true}, &cluster.ServicePort{Endpoints: []cluster.Endpoint{ready, e}})
		if fates[0].Internal != "" || fates[0].External != "" {
			t.Errorf("%s: the other one is left out: %+v", name, fates[0])
		}
		if fates[1].Internal != c.internal || fates[1].External != c.external {
			t.Errorf("%s: %q and %q, want %q and %q", name, fates[1].Internal, fates[1].External, c.internal, c.external)
		}
	}
}
