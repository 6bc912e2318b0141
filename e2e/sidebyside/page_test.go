package sidebyside

import (
	"slices"
	"strings"
	"testing"
)

// TestPage: goals follow from the figures, and what was not measured is called so.
func TestPage(t *testing.T) {
	same := []float64{1000, 1010, 990, 1000, 1005}
	half := []float64{500, 505, 495, 500, 502}
	paws := int64(3)
	r := &Result{
		Kernel: "Linux 7.2.13", Command: "make bench-data", Seconds: 2, Services: 100,
		Scenarios: []*Scenario{
			{Name: "node to node, datagrams", Bystander: true, Datagrams: true, Rates: map[string][]float64{
				Tracked: same, Bare: half, Ours: same, OursNFT: half, ProxyNFT: half,
			}},
			{Name: Unmasqueraded + ", connections", Rates: map[string][]float64{Bare: same, Ours: half}},
		},
		Stalls: []*Stall{{
			Name: OneClient, Variant: Ours, Runs: []LongRun{{
				EachSecond: append(repeat(1000, 10), repeat(400, 10)...),
				Steps:      []Step{{Seconds: 10, Answered: 10000}, {Seconds: 10, Answered: 4000, SYNsAgain: 3, PAWS: &paws}},
			}},
		}, {
			Name: OneClient, Variant: OursNFT, Runs: []LongRun{
				{EachSecond: append(repeat(1000, 10), repeat(500, 10)...), Steps: []Step{
					{Seconds: 10, Answered: 10000, SYNsAgain: 1},
				}},
				{EachSecond: append(repeat(1000, 10), repeat(700, 10)...), Steps: []Step{
					{Seconds: 10, Answered: 20000, SYNsAgain: 2},
				}},
			},
		}},
		Without: map[string]string{ProxyVS: "It would not start."},
	}
	page := Page(r)
	for _, want := range []string{
		"| node to node, datagrams, beside tracking | 0.95 | 1.00 (1.00 to 1.00) | reached | 0.50 (0.50 to 0.50) | 0.50 (0.50 to 0.50) |",
		"| node to node, datagrams, beside kube-proxy nftables | 1.2 | 2.00 (2.00 to 2.00) | reached | 1.00 (1.00 to 1.00) | 1.00 (1.00 to 1.00) |",
		"| a pod asks a cluster IP, connections, beside bare IPVS | 0.95 | 0.50 (0.50 to 0.50) | missed | – | – |",
		"| one client, masqueraded: last ten seconds beside the first ten | 0.95 | 0.40 | missed | 0.60 (0.50 to 0.70) | – |",
		"| one client, masqueraded: SYNs sent again | none | 3 | missed | 3 | – |",
		"| fifty clients from outside, node port: last ten seconds beside the first ten | 0.95 | – | not measured | – | – |",
		"| ipvs-proxier | 1 | 1,000, 400 | 0.40 | 0, 3 | 3 | 0 | not counted | none |",
		"| ipvs-proxier nftables | 2 | 1,500 | 0.60 (0.50 to 0.70) | 3 | not counted by this kernel | 0 | not counted | none |",
		"Left out: kube-proxy ipvs. It would not start.",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %q:\n%s", want, page)
		}
	}
	for line := range strings.Lines(page) {
		if !strings.HasPrefix(line, "|") && len([]rune(line)) > 121 {
			t.Errorf("a long line: %s", line)
		}
	}
}

// TestAdd: a later run takes the place of what it measured again, and leaves the rest; another kernel's is refused.
func TestAdd(t *testing.T) {
	before := &Result{
		Kernel: "Linux 7.2.13", Date: "monday", Command: "make a", Seconds: 2, Services: 100,
		Scenarios: []*Scenario{
			{Name: "a", Rates: map[string][]float64{Ours: {1}}}, {Name: "b", Rates: map[string][]float64{Ours: {1}}},
		},
		Stalls: []*Stall{
			{Name: OneClient, Variant: Ours, Runs: []LongRun{{InsertFailed: 1}, {InsertFailed: 2}}},
			{Name: OneClient, Variant: ProxyNFT},
		},
		Without: map[string]string{ProxyVS: "It would not start."},
	}
	now := &Result{Kernel: "Linux 7.2.13", Date: "tuesday", Command: "make b", Services: 100, Without: map[string]string{
		ProxyVS: "left", ProxyNFT: "left",
	}}
	if err := now.Add(before); err != nil {
		t.Fatal(err)
	}
	now.Measured(&Scenario{Name: "b", Rates: map[string][]float64{Ours: {2}}})
	now.Ran(OneClient, "", Ours, true, LongRun{InsertFailed: 7})
	now.Ran(OneClient, "", Ours, false, LongRun{InsertFailed: 8})
	now.Ran(FiftyClients, "", Ours, true, LongRun{})
	if len(now.Scenarios) != 2 || now.Scenarios[0].Rates[Ours][0] != 1 || now.Scenarios[1].Rates[Ours][0] != 2 ||
		len(now.Stalls) != 3 ||
		len(now.Stalls[0].Runs) != 2 || now.Stalls[0].Runs[0].InsertFailed != 7 || now.Stalls[0].Runs[1].InsertFailed != 8 {
		t.Errorf("scenarios %v, long runs %v", now.Scenarios, now.Stalls)
	}
	if len(now.Without) != 1 || now.Seconds != 2 || !strings.Contains(Page(now), "| `make a`, then `make b` |") {
		t.Errorf("left out %v, %v s, page\n%s", now.Without, now.Seconds, Page(now))
	}
	if err := (&Result{Kernel: "Linux 6.1", Services: 100}).Add(before); err == nil ||
		!strings.Contains(err.Error(), "Linux 6.1") {
		t.Errorf("another kernel: %v", err)
	}
}

func repeat(v float64, n int) (all []float64) {
	for range n {
		all = append(all, v)
	}
	return all
}

// TestEachSecondEndsWithTheLoad: requests that end behind the load would make a short second of their own, which the
// last ten seconds would then hold.
func TestEachSecondEndsWithTheLoad(t *testing.T) {
	answered := make([]int64, 61)
	for i := range answered {
		answered[i] = 10
	}
	if got := EachSecond(answered, 0.1, 6); !slices.Equal(got, repeat(100, 6)) {
		t.Errorf("%v, want six seconds of 100", got)
	}
	if got := EachSecond(answered[:25], 0.1, 4); !slices.Equal(got, []float64{100, 100, 50, 0}) {
		t.Errorf("%v, want a load that ended early", got)
	}
}
