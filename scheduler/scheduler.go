// Package scheduler is the registry of the schedulers that a Service may choose.
//
// A scheduler is one file: it describes itself in a [Scheduler] value and hands it to [Register] from its init function.
// Parser, documentation, status and tests pick it up from here; there is no other list.
package scheduler

import (
	"fmt"
	"slices"
	"strings"
)

// Scheduler describes one way of choosing a real server for a new connection.
type Scheduler struct {
	// Name is the canonical name, which is also the kernel's where the kernel does the work ("rr").
	Name string
	// Aliases are long names that mean the same ("round-robin"). They are read case-insensitively and never echoed.
	Aliases []string
	// Kernel is the name under which Linux knows the scheduler; the module is "ip_vs_" followed by it.
	Kernel string
	// Summary says in one line what it does and what it is good for.
	Summary string
	// Weighted tells whether weights other than 0 and 1 make a difference.
	Weighted bool
	// Supported are the flags that the kernel's scheduler understands, Default those in force when a Service says nothing.
	Supported, Default Flags
}

// Flags are scheduler flags, with the values of the kernel's virtual server flags IP_VS_SVC_F_SCHED1 to SCHED3
// (include/uapi/linux/ip_vs.h).
type Flags uint32

const (
	// Fallback makes sh and mh pass over a real server that is not available (weight 0 or overloaded) instead of
	// refusing the connection (IP_VS_SVC_F_SCHED_SH_FALLBACK, IP_VS_SVC_F_SCHED_MH_FALLBACK).
	Fallback Flags = 0x08
	// Port makes sh and mh hash the client's port as well as its address.
	Port Flags = 0x10
	// FlagMask covers every scheduler flag.
	FlagMask Flags = 0x38
)

// String returns the names of the flags, comma separated, or "none".
func (f Flags) String() string {
	var names []string
	if f&Fallback != 0 {
		names = append(names, "fallback")
	}
	if f&Port != 0 {
		names = append(names, "port")
	}
	if rest := f &^ (Fallback | Port); rest != 0 {
		names = append(names, fmt.Sprintf("%#x", uint32(rest)))
	}
	if names == nil {
		return "none"
	}
	return strings.Join(names, ",")
}

// Default is the scheduler in force where nobody chose one, the same as kube-proxy's.
const Default = "rr"

var (
	byName = map[string]Scheduler{} // canonical names and aliases, lower case
	names  []string                 // canonical names, sorted
)

// Register adds a scheduler. It panics when a name or alias is taken or malformed: that is a mistake in the program, found
// by the first test that runs.
func Register(s Scheduler) {
	if s.Name == "" || s.Kernel == "" || s.Summary == "" || s.Default&^s.Supported != 0 {
		panic(fmt.Sprintf("BUG: scheduler %+v: name, kernel name and summary must be set, and defaults supported", s))
	}
	for _, name := range append([]string{s.Name}, s.Aliases...) {
		if name != strings.ToLower(name) || strings.ContainsAny(name, " ,=") {
			panic(fmt.Sprintf("BUG: scheduler name %q is not lower case or has a separator in it", name))
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

// Words returns every name and alias, sorted: what a user may write.
func Words() []string {
	words := make([]string, 0, len(byName))
	for word := range byName {
		words = append(words, word)
	}
	slices.Sort(words)
	return words
}
