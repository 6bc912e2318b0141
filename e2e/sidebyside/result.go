// Package sidebyside writes docs/data-plane.md, from what `make bench-data` measured of several nodes of one guest:
// rates, ratios with their intervals, and goals that are reached or not. It measures nothing itself.
package sidebyside

import (
	"fmt"
	"slices"
)

// The variants: what a node has between its clients and the rest.
const (
	None    = "nothing"
	Tracked = "tracking"
	Bare    = "bare IPVS"
	// BareRandom masquerades to a random port, as kube-proxy does: what a kernel does to long runs without any proxy.
	BareRandom = "bare IPVS with random ports"
	// BareFilter has one rule in filter INPUT: the least that a proxy pays which refuses some connections to the node.
	BareFilter = "bare IPVS with a filter"
	Ours       = "ipvs-proxier"
	// OursNFT is this program with --netfilter=nftables.
	OursNFT  = "ipvs-proxier nftables"
	ProxyVS  = "kube-proxy ipvs"
	ProxyNFT = "kube-proxy nftables"
)

// Result is all that was measured.
type Result struct {
	Kernel, Machine, Date, Command string

	Services  int     // beside those that get requests
	Seconds   float64 // of one turn
	Scenarios []*Scenario
	Stalls    []*Stall
	// Without says why a variant was left out.
	Without map[string]string
}

// Add takes over what an earlier run on the same kernel and machine has measured, of which later results take the place
// one by one.
func (r *Result) Add(before *Result) error {
	if r.Kernel != before.Kernel || r.Machine != before.Machine || r.Services != before.Services {
		return fmt.Errorf("nothing can be added to what was measured on %s, %s, with %d Services: this is %s, %s, with %d",
			before.Kernel, before.Machine, before.Services, r.Kernel, r.Machine, r.Services)
	}
	r.Scenarios, r.Stalls = before.Scenarios, before.Stalls
	if len(r.Scenarios) > 0 {
		r.Seconds = before.Seconds
	}
	r.Date, r.Command = before.Date+", "+r.Date, before.Command+"`, then `"+r.Command
	// Whatever was measured then was not left out.
	for variant := range r.Without {
		if _, left := before.Without[variant]; !left {
			delete(r.Without, variant)
		}
	}
	return nil
}

// Measured keeps a workload's figures, instead of earlier ones of the same name.
func (r *Result) Measured(s *Scenario) {
	if at := slices.IndexFunc(
		r.Scenarios, func(o *Scenario) bool { return o.Name == s.Name && o.Datagrams == s.Datagrams },
	); at >= 0 {
		r.Scenarios[at] = s
	} else {
		r.Scenarios = append(r.Scenarios, s)
	}
}

// Ran keeps the first of a variant's long runs instead of those of an earlier command, and adds the others to it.
func (r *Result) Ran(name, what, variant string, first bool, run LongRun) {
	at := slices.IndexFunc(r.Stalls, func(o *Stall) bool { return o.Name == name && o.Variant == variant })
	if at < 0 {
		at, r.Stalls = len(r.Stalls), append(r.Stalls, &Stall{Name: name, Variant: variant})
	}
	s := r.Stalls[at]
	s.What = what
	if first {
		s.Runs = nil
	}
	s.Runs = append(s.Runs, run)
}

// Scenario is one workload, measured in rounds in each of which every variant had its turn.
type Scenario struct {
	Name, What string
	// Bystander says that no Service gets requests.
	Bystander bool
	// Datagrams says that they are counted, and not connections.
	Datagrams bool
	// Rates has what went through in a second, for each variant one for each round.
	Rates map[string][]float64
	// Errors is how many requests failed, over all rounds.
	Errors map[string]int64
}

// Stall is a long load on an endpoint that keeps what is over: TIME_WAIT, or an entry of UDP. Each variant has its turn
// in each round.
type Stall struct {
	Name, What, Variant string
	Runs                []LongRun
}

// LongRun is one turn.
type LongRun struct {
	Steps []Step
	// EachSecond is what was answered in each second of the load, and not after it.
	EachSecond []float64
	Errors     map[string]int64
	// InsertFailed and Drop are those of conntrack -S on the node.
	InsertFailed, Drop int64
	// Counted says that the kernel has those counters.
	Counted bool
}

// Step is a part of a Stall, as a rule ten seconds.
type Step struct {
	Seconds   float64
	Answered  int64
	SYNsAgain int64 // TcpExtTCPSynRetrans of the client
	Resets    int64 // TcpOutRsts of the endpoint
	PAWS      *int64
}

// EachSecond sums the steps of a load's series, each of which lasts step seconds. What was answered after the load's
// last second belongs to none: a request counts when it ends, and the last ones end behind the load.
func EachSecond(answered []int64, step float64, seconds int) []float64 {
	all := make([]float64, seconds)
	for i, n := range answered {
		// A tenth of a second is none in binary.
		if second := int(float64(i)*step + 1e-6); second < seconds {
			all[second] += float64(n)
		}
	}
	return all
}
