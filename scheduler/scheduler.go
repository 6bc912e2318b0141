// Package scheduler is the registry of the schedulers that a Service may choose.
//
// A scheduler is one file: it describes itself in a [Scheduler] value and hands it to [Register] from its init
// function. The parser of annotations, documentation, admission policy, shell completion, status and tests pick it up
// from here; there is no other list. docs/adding-a-scheduler.md walks through one.
package scheduler

import (
	"fmt"
	"slices"
	"strings"
)

// Scheduler describes one way of choosing a real server for a new connection.
type Scheduler struct {
	// Name is the canonical name, which is also the kernel's where the kernel does all of the work ("rr").
	Name string
	// Aliases are long names that mean the same ("round-robin"). They are read case-insensitively and never echoed.
	Aliases []string
	// Kernel is the name under which Linux knows the scheduler; the module is "ip_vs_" followed by it. A policy of its
	// own, which decides by [Scheduler.Weigh], names the kernel's scheduler that carries it out.
	Kernel string
	// Summary says in one line what it does and what it is good for.
	Summary string
	// Caution, when set, says why a Service that chooses it may not get what its author expects; it becomes a Problem
	// of the Service, and the choice is in force all the same.
	Caution string
	// CautionUnweighted is the same for a port none of whose endpoints has a weight above 1.
	CautionUnweighted string
	// Places is the size of the kernel's table, where it has one in which each endpoint needs a place: those beyond get
	// nothing, which is a Problem of the Service. 0 is no such table.
	Places int
	// CostlyTable says whether the kernel builds a large table anew for each real server that is added, changed or
	// removed.
	CostlyTable bool
	// LoadedByNode says whether the node has to load the scheduler's module, because the kernel must not do so on
	// behalf of IPVS.
	LoadedByNode bool
	// Weighted says whether weights other than 0 and 1 make a difference.
	Weighted bool
	// SlowStart says whether a growing weight lets an endpoint's share grow with it, without moving other clients
	// about.
	SlowStart bool
	// Supported are the flags that the kernel's scheduler understands, Default those in force when a Service says
	// nothing.
	Supported, Default Flags
	// Order is the order in which the kernel has the endpoints.
	Order Order
	// Idle is what has to be done with an endpoint of weight 0, so that no new connection is refused on its account.
	Idle Idle
	// Weigh, when set, returns the weight that the kernel gets for each of the endpoints, which are those of one
	// virtual server, in their order. A weight of 0 stays 0. It looks at nothing but its arguments.
	Weigh func(here Place, endpoints []Endpoint) []uint32
}

// Order is an order of endpoints. The kernel's schedulers depend on the order of their list.
type Order uint8

// The orders.
const (
	// Seeded differs from node to node and from Service to Service, and is always the same on one node, so that many
	// nodes do not all start with the same endpoint (kubernetes#79213, #121591).
	Seeded Order = iota
	// Canonical is by address and port, so that every node maps a client to the same endpoint.
	Canonical
)

// Idle is how a scheduler treats a real server of weight 0, which has connections and gets no new ones.
type Idle uint8

// The ways.
const (
	// IdleSkipped: the scheduler passes over it.
	IdleSkipped Idle = iota
	// IdleRenewed: the scheduler uses the last weight above 0, and would refuse its clients or move them on. A real
	// server that is deleted and added with weight 0 has no such weight, and keeps its connections.
	IdleRenewed
	// IdleLast: the scheduler's table would hold it, unless those in front of it fill the table.
	IdleLast
	// IdleAside: the scheduler takes one place of the list ([DestinationHashPlace]): another endpoint has to stand
	// there.
	IdleAside
)

// Place is where something is in the cluster; a name that is not known is empty.
type Place struct{ Node, Zone string }

// Endpoint is what a policy may use.
type Endpoint struct {
	Place
	// Weight is 0 to 65535: what annotations of EndpointSlices, the Service and Nodes say, else 1.
	Weight uint32
}

// Default is the scheduler in force where nobody chose one, the same as kube-proxy's.
const Default = "rr"

// Example is the scheduler of examples in messages and documents.
const Example = "wlc"

// ForAffinity are schedulers by a hash of the client's address, the best one first. A Service with session affinity for
// which nobody chose one gets the first that fits. The first moves fewer clients when endpoints change.
var ForAffinity = []string{"mh", "sh"}

var (
	byName = map[string]Scheduler{} // canonical names and aliases, lower case
	names  []string                 // canonical names, sorted
)

// Register adds a scheduler. It panics when a name or alias is taken or malformed: that is a mistake in the program,
// found by the first test that runs.
func Register(s Scheduler) {
	if s.Name == "" || s.Kernel == "" || s.Summary == "" || s.Default&^s.Supported != 0 {
		panic(fmt.Sprintf("BUG: scheduler %+v: name, kernel name and summary must be set, and defaults supported", s))
	}
	for _, name := range append([]string{s.Name}, s.Aliases...) {
		if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			panic(fmt.Sprintf("BUG: scheduler name %q has other characters than a-z, 0-9 and -", name))
		}
		if other, taken := byName[name]; taken {
			panic(fmt.Sprintf("BUG: scheduler name %q belongs to %s already", name, other.Name))
		}
		byName[name] = s
	}
	names = append(names, s.Name)
	slices.Sort(names)
}

// Lookup returns the scheduler of that name or alias, read without regard to case and surrounding space.
func Lookup(name string) (Scheduler, bool) {
	s, found := byName[strings.ToLower(strings.TrimSpace(name))]
	return s, found
}

// Names returns the canonical names, sorted.
func Names() []string { return slices.Clone(names) }

// NamesOf returns the canonical names of the schedulers of which the fact holds, sorted.
func NamesOf(fact func(Scheduler) bool) (such []string) {
	for _, name := range names {
		if fact(byName[name]) {
			such = append(such, name)
		}
	}
	return such
}

// KernelNames returns the kernel's names of all schedulers, sorted.
func KernelNames() []string {
	var kernel []string
	for _, name := range names {
		kernel = append(kernel, byName[name].Kernel)
	}
	slices.Sort(kernel)
	return slices.Compact(kernel)
}

// OfKernel returns the scheduler that is the kernel's own of that name.
func OfKernel(name string) (Scheduler, bool) {
	s, found := byName[name]
	return s, found && s.Name == s.Kernel
}

// Words returns every name and alias, sorted: what a user may write.
func Words() []string {
	words := make([]string, 0, len(byName))
	for word := range byName {
		words = append(words, word)
	}
	slices.Sort(words)
	return words
}
