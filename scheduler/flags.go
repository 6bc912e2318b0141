package scheduler

import (
	"fmt"
	"strings"
)

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

// Flag is a flag as users write it.
type Flag struct {
	Name  string
	Value Flags
	// Summary says in one sentence, without a full stop, what the flag does.
	Summary string
}

// AllFlags are the flags that a Service may choose, sorted by name. Annotations, the admission policy and documentation
// are made of them.
var AllFlags = []Flag{
	{"fallback", Fallback, "a client whose endpoint cannot take it goes to another one instead of being refused"},
	{"port", Port, "the client's port is hashed as well as its address"},
}

// FlagNames returns the names of all flags, sorted.
func FlagNames() []string {
	var names []string
	for _, f := range AllFlags {
		names = append(names, f.Name)
	}
	return names
}

// FlagOf returns the flag of that name, or 0 where there is none.
func FlagOf(name string) Flags {
	for _, f := range AllFlags {
		if f.Name == name {
			return f.Value
		}
	}
	return 0
}

// String returns the names of the flags, comma separated, or "none".
func (f Flags) String() string {
	var names []string
	for _, flag := range AllFlags {
		if f&flag.Value != 0 {
			names = append(names, flag.Name)
			f &^= flag.Value
		}
	}
	if f != 0 {
		names = append(names, fmt.Sprintf("%#x", uint32(f)))
	}
	if names == nil {
		return "none"
	}
	return strings.Join(names, ",")
}
