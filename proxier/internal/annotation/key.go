// Package annotation is the table of the annotations by which users choose: their keys, what each may say, and how it
// is read.
//
// Everything that knows a key takes it from here: the parser (this package), docs/annotations.md, the admission policy
// in deploy and shell completion. A value's grammar is a regular expression in RE2. Go and the API server's CEL read
// that alike, so that parser and policy cannot disagree about it.
package annotation

import (
	"regexp"
	"slices"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
)

// Prefix begins every annotation of ours.
const Prefix = "ipvs-proxier.io/"

// The names of the keys, without the prefix.
const (
	Scheduler      = "scheduler"
	SchedulerFlags = "scheduler-flags"
	Weight         = "weight"
	SlowStart      = "slow-start"
	MaxConnections = "max-connections"
	DrainTimeout   = "drain-timeout"
	Forwarding     = "forwarding"
	OnePacket      = "one-packet"
	Expose         = "expose"
	Ignore         = "ignore"
)

// Object is a kind of Kubernetes object that may carry an annotation.
type Object string

// The kinds.
const (
	Service       Object = "Service"
	EndpointSlice Object = "EndpointSlice"
	Node          Object = "Node"
)

// Key is one annotation on one kind of object. The same name may mean something else on another kind.
type Key struct {
	Name    string
	Objects []Object
	// Summary says what it is for, Allowed what it may say, Default what is in force without it; all for people.
	Summary, Allowed, Default string
	// Example is a value that is allowed.
	Example string
	// PerPort says that the value may be a list "http=VALUE,dns=VALUE,*=VALUE" of Service ports by name or number.
	PerPort bool
	// Words are what a value is made of, for the nearest match of a misspelt one and for shell completion.
	Words []string
	// Pattern is the grammar of a value in lower case, without surrounding space; PortPattern, where it differs, that
	// of one in a list of ports, in which a comma ends the value.
	Pattern, PortPattern string
	// Limits are what the grammar does not say about one value.
	Limits []Limit
	// Unique says that no name may stand twice before a "=".
	Unique bool

	canonical func(string) string
	whole     func() *regexp.Regexp
}

// Limit is a rule about one value x in lower case, which the grammar lets through: as an expression in CEL and in Go.
type Limit struct {
	CEL   string
	Holds func(x string) bool
}

// String returns the key as users write it.
func (k Key) String() string { return Prefix + k.Name }

// Field is where a Problem with the key is, in the object's words.
func (k Key) Field() string { return Field(k.String()) }

// Field is the place of the annotation in its object. A key that does not come from the API may hold anything.
func Field(key string) string { return "metadata.annotations[" + budget.Printable(key) + "]" }

const (
	space = `[ \t\r\n\f]*`
	// portName is a Service port by its name (RFC 6335) or number, or "*" for all others.
	portName = `(?:[a-z0-9](?:[-a-z0-9]*[a-z0-9])?|\*)`
)

// Grammar returns the regular expression that a whole value matches, in RE2, with anchors. The letters A to Z of the
// value are to be in lower case. (?i) would let other letters pass that fold to those of ASCII, such as the long s.
func (k Key) Grammar() string {
	whole := "(?:" + k.Pattern + ")"
	if k.PerPort {
		one := k.PortPattern
		if one == "" {
			one = k.Pattern
		}
		entry := portName + space + "=" + space + "(?:" + one + ")"
		whole = "(?:" + whole + "|" + entry + "(?:" + space + "," + space + entry + ")*)"
	}
	return "^" + space + whole + space + "$"
}

// Keys returns the keys of a kind of object, in the order in which they are explained.
func Keys(of Object) []Key {
	return slices.DeleteFunc(slices.Clone(table), func(k Key) bool { return !slices.Contains(k.Objects, of) })
}

// Lookup returns the key of that name, without the prefix.
func Lookup(of Object, name string) (Key, bool) {
	for _, k := range table {
		if k.Name == name && slices.Contains(k.Objects, of) {
			return k, true
		}
	}
	return Key{}, false
}

// Names returns the names of the keys of a kind of object, with the prefix.
func Names(of Object) []string {
	var names []string
	for _, k := range Keys(of) {
		names = append(names, k.String())
	}
	return names
}

// Unknown returns the annotations under our prefix that are no keys of that kind of object, sorted.
func Unknown(of Object, annotations map[string]string) []string {
	var unknown, known []string
	for key := range annotations {
		if !strings.HasPrefix(key, Prefix) {
			continue
		}
		if known == nil {
			known = Names(of)
		}
		if !slices.Contains(known, key) {
			unknown = append(unknown, key)
		}
	}
	slices.Sort(unknown)
	return unknown
}
