//go:build e2e

package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// chaos does to a node, at random, what goes wrong in clusters, one thing after the other.
type chaos struct {
	*fed
	r     *rand.Rand
	two   *topology.Host
	drift *drift
	// doing is the harm that is being done.
	doing string
}

// harm is something that goes wrong.
type harm struct {
	name   string
	weight int
	do     func(*chaos)
	// expect says what is promised under it, beside what is promised under all: that Services whose endpoints stay are
	// served.
	expect string
	// unless says why it cannot be done here; nil, or "", when it can.
	unless func(*chaos) string
}

// harms are all of them.
var harms = []harm{
	{name: "killed", weight: 3, do: func(c *chaos) { c.proxier.Kill(); c.start(c.args...) }, expect: "what stays is served"},
	{name: "ended", weight: 2, do: (*chaos).end, expect: "what stays is served"},
	{name: "other Services changed", weight: 4, do: func(c *chaos) { c.set("others", others(c.r, c.one, c.two)...) }, expect: "what stays is served"},
	{name: "drift", weight: 4, do: func(c *chaos) { c.drift.batch(1 + c.r.IntN(5)) }, expect: "the next audit repairs it"},
	{name: "hostile tenant", weight: 3, do: func(c *chaos) { c.set("hostile", c.hostile()...) }, expect: "others' changes arrive"},
	{name: "file that cannot be read", weight: 1, do: func(c *chaos) { c.set("broken", "kind: Service\nmetadata: {name: [") }, unless: noManifests, expect: "the others count"},
	{name: "lock of iptables held", weight: 1, do: (*chaos).holdLock, expect: "changes arrive"},
	{name: "sets full", weight: 1, do: (*chaos).fillSets, expect: "the next audit makes room, and changes arrive"},
	{name: "second proxier", weight: 1, do: (*chaos).second, expect: "the second ends and says why"},
	{name: "module missing", weight: 1, do: (*chaos).missModule, unless: notOwnGuest, expect: "its Service gets a Problem, others' changes arrive"},
	{name: "clock stepped", weight: 1, do: (*chaos).stepClock, unless: notOwnGuest, expect: "changes arrive"},
	{name: "netlink buffers small", weight: 1, do: (*chaos).smallBuffers, unless: notOwnGuest, expect: "changes arrive"},
	{name: "memory short", weight: 1, do: (*chaos).shortMemory, unless: noMemoryController, expect: "killed or not, changes arrive after it"},
}

// noManifests says why what harms a directory of manifests is not done beside an API.
func noManifests(c *chaos) string {
	if c.api != nil {
		return "no manifests are followed"
	}
	return ""
}

// TestChaos does harm at random, each kind once, and then any for as long as IPVSP_CHAOS says, beside a Service under
// load and held connections. No request to the Service under load fails, no held connection breaks, changes arrive,
// nobody else's virtual server changes, and in the end the kernel holds what a start on a clean node makes. TEST_SEED
// repeats what is done, in its order. IPVSP_SOURCE is manifests, api, or both, one after the other, for half of the
// time each: then each kind is done once in all. IPVSP_HARMS limits the harms.
func TestChaos(t *testing.T) {
	text := os.Getenv("IPVSP_CHAOS")
	if text == "" {
		t.Skip("run by make chaos")
	}
	duration, err := time.ParseDuration(text)
	if err != nil || duration < 10*time.Second {
		t.Fatalf("IPVSP_CHAOS is %q; want a duration of 10s or more", text)
	}
	seed := seed(t)
	switch source := os.Getenv("IPVSP_SOURCE"); source {
	case "", "manifests":
		runChaos(t, seed, duration, false, each)
	case "api":
		runChaos(t, seed, duration, true, each)
	case "both":
		for _, name := range []string{"manifests", "api"} {
			api, once := name == "api", each
			if api {
				once = ofAPIs // the others have been done
			}
			t.Run(name, func(t *testing.T) {
				if chosen, err := chooseHarms(os.Getenv("IPVSP_HARMS"), api); err == nil && len(chosen) == 0 {
					t.Skip("none of HARMS befalls it")
				}
				runChaos(t, seed, duration/2, api, once)
			})
		}
	default:
		t.Fatalf("SOURCE is %q; want manifests, api or both", source)
	}
}

// each and ofAPIs say which kinds of harm a run owes: every one, or those that befall API servers.
func each(harm) bool { return true }

func ofAPIs(h harm) bool {
	return slices.ContainsFunc(apiHarms, func(of harm) bool { return of.name == h.name })
}

func runChaos(t *testing.T, seed uint64, duration time.Duration, api bool, owed func(harm) bool) {
	chosen, err := chooseHarms(os.Getenv("IPVSP_HARMS"), api)
	if err != nil {
		t.Fatal(err)
	}
	c := &chaos{fed: &fed{cluster: newCluster(t)}, r: drawn(seed, 4)}
	c.drift = &drift{cluster: c.cluster, r: drawn(seed, 5), harmed: map[string]int{}, sparing: true,
		ours: func(address string) bool {
			return strings.HasPrefix(address, "10.96.3.") || strings.HasPrefix(address, "fd00:10:96::3")
		}}
	c.one, c.two = c.backend(1, 10, "one"), c.backend(2, 10, "two")
	client := c.pod(1, 50, "client")
	neighbour := netip.MustParseAddrPort("10.96.7.7:80")
	_, err = c.Node1.Run("ipvsadm", "-A", "-t", neighbour.String(), "-s", "wrr")
	c.must(err)
	source := c.follow(api)
	c.set("web", with(web(nodePort), c.one, c.two))
	c.start(append(source, "--audit-period", "1s", "--contest-after", "0")...)
	c.must(c.proxier.AwaitReady())
	c.awaitVirtualServer("tcp", web6, fmt.Sprintf("rr %s/1 %s/1", at(c.one.IPv6, 8080), at(c.two.IPv6, 8080)))
	load := c.putUnderLoad(client, 20, 2*duration+time.Hour)
	done := c.doHarm(chosen, owed, duration)
	for _, group := range []string{"others", "hostile", "broken", "missing"} {
		c.set(group)
	}
	c.must(c.proxier.AwaitReady())
	c.changeArrives()
	c.awaitAudits(2) // what drifted in the last moment is repaired, too
	load.judge(fmt.Sprintf("%s of harm (%s; drift: %s)", duration, counts(done), counts(c.drift.harmed)))
	if text, err := c.Node1.Run("ipvsadm", "-Sn"); err != nil ||
		!strings.Contains(text, "-A -t "+neighbour.String()+" -s wrr\n") {
		t.Errorf("somebody else's virtual server is %q, %v", text, err)
	}
	c.sameAsFresh(c.args...)
}

// chooseHarms returns the harms that there are for the source, or those of them whose names match one of the patterns,
// which commas separate. A pattern that matches no harm of any source is an error.
func chooseHarms(patterns string, api bool) (chosen []harm, err error) {
	all := slices.Concat(harms, apiHarms)
	picked := map[string]bool{}
	for pattern := range strings.SplitSeq(patterns, ",") {
		matches, err := regexp.Compile("(?i)" + strings.TrimSpace(pattern))
		if err != nil {
			return nil, fmt.Errorf("HARMS: %w", err)
		}
		found := false
		var names []string
		for _, h := range all {
			names = append(names, h.name)
			if matches.MatchString(h.name) {
				picked[h.name], found = true, true
			}
		}
		if !found {
			return nil, fmt.Errorf("HARMS: no harm is called %q; there are: %s", pattern, strings.Join(names, ", "))
		}
	}
	if !api {
		all = harms
	}
	return slices.DeleteFunc(slices.Clone(all), func(h harm) bool { return !picked[h.name] }), nil
}

// TestHarmsAreChosenByPattern: each pattern has to mean something; the error lists what is known where one does not.
func TestHarmsAreChosenByPattern(t *testing.T) {
	for _, c := range []struct {
		patterns string
		api      bool
		want     string
	}{
		{"^killed", false, "killed"},
		{"^killed, api server", false, "killed"},
		{"api server, token", true, "API server killed, API server ended, API server slow, API server silent, token exchanged"},
		{"killed,nobody", true, ""},
		{"(", true, ""},
	} {
		chosen, err := chooseHarms(c.patterns, c.api)
		var names []string
		for _, h := range chosen {
			names = append(names, h.name)
		}
		if got := strings.Join(names, ", "); got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%q: %q, %v; want %q", c.patterns, got, err, c.want)
		}
	}
	if _, err := chooseHarms("nobody", false); err == nil || !strings.Contains(err.Error(), "clock stepped") {
		t.Errorf("the error does not list what is known: %v", err)
	}
	if chosen, err := chooseHarms("token", false); err != nil || len(chosen) != 0 {
		t.Errorf("harm to an API without an API: %v, %v", chosen, err)
	}
	if all, err := chooseHarms("", true); err != nil || len(all) != len(harms)+len(apiHarms) {
		t.Errorf("%d harms without a pattern, %v", len(all), err)
	}
}

// doHarm does each harm that is owed once, in random order, and then any of them until the time is over. It logs and
// counts them.
func (c *chaos) doHarm(chosen []harm, owed func(harm) bool, duration time.Duration) map[string]int {
	done := map[string]int{}
	var possible []harm
	sum := 0
	for _, h := range chosen {
		if h.unless != nil {
			if why := h.unless(c); why != "" {
				c.t.Logf("not done: %s: %s", h.name, why)
				continue
			}
		}
		possible = append(possible, h)
		sum += h.weight
	}
	if len(possible) == 0 {
		c.t.Fatal("no harm can be done here")
	}
	first := slices.DeleteFunc(c.r.Perm(len(possible)), func(i int) bool { return !owed(possible[i]) })
	for end := time.Now().Add(duration); (len(first) > 0 || time.Now().Before(end)) && !c.t.Failed(); {
		time.Sleep(time.Duration(c.r.IntN(1500)) * time.Millisecond) // the moment of the harm, not a wait
		var h harm
		if len(first) > 0 {
			h, first = possible[first[0]], first[1:]
		} else {
			pick := c.r.IntN(sum)
			for _, h = range possible {
				if pick -= h.weight; pick < 0 {
					break
				}
			}
		}
		began := time.Now()
		c.doing = h.name
		c.t.Log(h.name)
		h.do(c)
		done[h.name]++
		if took := time.Since(began); took > 10*time.Second {
			c.t.Logf("%s took %s", h.name, took.Round(time.Second))
		}
	}
	for _, h := range possible {
		c.t.Logf("%s, %d times: %s", h.name, done[h.name], h.expect)
	}
	return done
}

// hostile are Services that the kernel refuses, that ask for too much, or that say what nobody understands.
func (c *chaos) hostile() []string {
	refused := with(service("refused", []string{"10.96.4.1", "fd00:10:96::401"}),
		&topology.Host{Node: "elsewhere", IPv4: netip.MustParseAddr("192.168.50.255"), IPv6: c.one.IPv6})
	var names []string
	for i := range 2000 {
		names = append(names, fmt.Sprintf("p%d=rr%d", i, c.r.IntN(1000)))
	}
	wordy := manifest(service("wordy", []string{"10.96.4.2", "fd00:10:96::402"}, scheduled(strings.Join(names, ","))))
	large := service("large", []string{"10.96.4.3", "fd00:10:96::403"})
	for i := range 300 {
		port := large.Spec.Ports[0]
		port.Name, port.Port = fmt.Sprintf("p%d", i), int32(1000+i)
		large.Spec.Ports = append(large.Spec.Ports, port)
	}
	taker := service("taker", []string{"10.96.4.4", "fd00:10:96::404"}, loadBalancer(1, 0))
	taker.Status.LoadBalancer.Ingress[0].IP = web4.Addr().String()
	return [][]string{
		{refused}, {wordy}, {manifest(large)}, {manifest(taker)}, {refused, wordy, manifest(taker)},
	}[c.r.IntN(5)]
}
