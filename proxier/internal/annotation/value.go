package annotation

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/internal/spelling"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// Values is what an annotation says in canonical words, by port: the name or number as it was written, in lower case,
// or "*" for every port that is not named.
type Values map[string]string

// AllPorts stands for every port that is not named.
const AllPorts = "*"

// For returns what is said for a port, by its name before its number.
func (v Values) For(name string, number uint16) (string, bool) {
	for _, port := range []string{strings.ToLower(name), strconv.Itoa(int(number)), AllPorts} {
		if value, said := v[port]; said {
			return value, true
		}
	}
	return "", false
}

// String returns the canonical text.
func (v Values) String() string {
	if value, only := v[AllPorts]; only && len(v) == 1 {
		return value
	}
	var entries []string
	for _, port := range slices.SortedFunc(maps.Keys(v), comparePorts) {
		entries = append(entries, port+"="+strings.ReplaceAll(v[port], ",", "+"))
	}
	return strings.Join(entries, ",")
}

// comparePorts puts "*" last.
func comparePorts(a, b string) int {
	if (a == AllPorts) != (b == AllPorts) {
		return strings.Compare(b, a)
	}
	return strings.Compare(a, b)
}

// Parse reads a value. The error says what was written, what is allowed, and what was probably meant.
func (k Key) Parse(text string) (Values, error) {
	if len(text) > budget.ValueBytes {
		return nil, fmt.Errorf("%s has %d bytes; allowed are at most %d", budget.Quote(text), len(text), budget.ValueBytes)
	}
	lower := lowerASCII(text)
	if !k.whole().MatchString(lower) {
		return nil, k.refusal(text)
	}
	values := Values{}
	seen := map[string]bool{}
	for _, entry := range k.entries(lower) {
		port, value := AllPorts, entry
		if name, said, listed := strings.Cut(entry, "="); listed && (k.PerPort || k.Unique) {
			name, said = strings.TrimSpace(name), strings.TrimSpace(said)
			if name == "zone" || name == "node" {
				where, _, _ := strings.Cut(said, ":")
				name += "=" + strings.TrimSpace(where)
			}
			if seen[name] {
				return nil, fmt.Errorf("%s names %s twice", budget.Quote(text), budget.Quote(name))
			}
			seen[name] = true
			if k.PerPort {
				port, value = name, said
			}
		}
		for _, limit := range k.Limits {
			if !limit.Holds(value) {
				return nil, k.refusal(text)
			}
		}
		values[port] = k.canonical(value)
	}
	if !k.PerPort { // one value, which may be a list
		return Values{AllPorts: k.canonical(strings.TrimSpace(lower))}, nil
	}
	return values, nil
}

// lowerASCII is CEL's lowerAscii.
func lowerASCII(text string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r - 'A' + 'a'
		}
		return r
	}, text)
}

// entries cuts a value of the right grammar where it is a list of ports.
func (k Key) entries(text string) []string {
	entries := []string{strings.TrimSpace(text)}
	if strings.Contains(text, "=") {
		entries = strings.Split(text, ",")
		for i, e := range entries {
			entries[i] = strings.TrimSpace(e)
		}
	}
	return entries
}

func (k Key) refusal(text string) error {
	hint := ""
	for i, entry := range k.entries(strings.ToLower(text)) {
		if i == budget.Lookups {
			break
		}
		word := entry[strings.LastIndexByte(entry, '=')+1:]
		if near, found := spelling.Nearest(strings.TrimSpace(word), k.Words); found && near != strings.TrimSpace(word) {
			hint = fmt.Sprintf(" (did you mean %s?)", near)
			break
		}
	}
	return fmt.Errorf("%s is not allowed%s; allowed is %s", budget.Quote(text), hint, k.Allowed)
}

func withoutSpace(x string) string { return strings.Join(strings.Fields(x), "") }

func withoutZeros(x string) string {
	n, _ := strconv.ParseUint(x, 10, 16)
	return strconv.FormatUint(n, 10)
}

func canonicalDuration(x string) string { return ParseDuration(x).String() }

func canonicalBool(x string) string { return strconv.FormatBool(ParseBool(x)) }

func sortedList(x string) string {
	words := strings.Split(withoutSpace(x), ",")
	slices.Sort(words)
	return strings.Join(slices.Compact(words), ",")
}

// The readers of values below take what Parse has let through, in lower case or canonical.

// ParseFlags reads scheduler flags, parted by "," or "+".
func ParseFlags(x string) (flags scheduler.Flags) {
	for _, word := range strings.FieldsFunc(x, func(r rune) bool { return strings.ContainsRune(",+ \t\r\n\f", r) }) {
		flags |= scheduler.FlagOf(word)
	}
	return flags
}

// ParseDuration reads a duration.
func ParseDuration(x string) time.Duration {
	d, _ := time.ParseDuration(x)
	return d
}

// ParseBool reads a boolean.
func ParseBool(x string) bool {
	value, _ := strconv.ParseBool(x)
	return value
}

// ConnectionLimit is a ceiling of connections: at Upper an endpoint is full, at or below Lower it takes new ones again.
// Zero is no limit.
type ConnectionLimit struct{ Upper, Lower uint32 }

// String returns "upper/lower", or "" for none.
func (l ConnectionLimit) String() string {
	if l.Upper == 0 {
		return ""
	}
	return fmt.Sprintf("%d/%d", l.Upper, l.Lower)
}

// ParseLimit reads "n" or "n/m".
func ParseLimit(x string) ConnectionLimit {
	upper, lower, both := strings.Cut(withoutSpace(x), "/")
	n, _ := strconv.ParseUint(upper, 10, 32)
	m, _ := strconv.ParseUint(lower, 10, 32)
	if !both {
		m = n * 3 / 4
	}
	return ConnectionLimit{uint32(n), uint32(m)}
}

// ParseWeight reads the weight of an EndpointSlice or a Node.
func ParseWeight(x string) uint32 {
	n, _ := strconv.ParseUint(x, 10, 16)
	return uint32(n)
}

// Weights is a Service's list of weights.
type Weights struct {
	Nodes, Zones map[string]uint32
	// Others is the weight of all others; HasOthers says that there is one.
	Others    uint32
	HasOthers bool
}

// ParseWeights reads a canonical list.
func ParseWeights(x string) Weights {
	w := Weights{Nodes: map[string]uint32{}, Zones: map[string]uint32{}}
	for _, entry := range strings.Split(x, ",") {
		kind, said, _ := strings.Cut(entry, "=")
		name, weight, _ := strings.Cut(said, ":")
		switch kind {
		case "node":
			w.Nodes[name] = ParseWeight(weight)
		case "zone":
			w.Zones[name] = ParseWeight(weight)
		default:
			w.Others, w.HasOthers = ParseWeight(said), true
		}
	}
	return w
}

// For returns the weight of an endpoint at a place.
func (w Weights) For(at scheduler.Place) (uint32, bool) {
	if weight, said := w.Nodes[strings.ToLower(at.Node)]; said && at.Node != "" {
		return weight, true
	}
	if weight, said := w.Zones[strings.ToLower(at.Zone)]; said && at.Zone != "" {
		return weight, true
	}
	return w.Others, w.HasOthers
}
