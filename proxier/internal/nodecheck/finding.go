package nodecheck

import (
	"cmp"
	"fmt"
	"slices"
)

// Severity is what a finding means for the node. The greater, the worse.
type Severity int

// The severities.
const (
	// OK: the node is right.
	OK Severity = iota
	// Unknown: it could not be looked at, and the finding says why.
	Unknown
	// Warns: it works, but for what the consequence says.
	Warns
	// Fails: the program cannot do its work on this node.
	Fails
)

// String returns the word that is printed.
func (s Severity) String() string { return [...]string{"ok", "unknown", "warns", "fails"}[s] }

// MarshalText implements encoding.TextMarshaler.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Severity) UnmarshalText(text []byte) error {
	for known := OK; known <= Fails; known++ {
		if known.String() == string(text) {
			*s = known
			return nil
		}
	}
	return fmt.Errorf("severity %q is unknown; allowed are ok, unknown, warns, fails", text)
}

// Finding is what one check says of the node.
type Finding struct {
	Code     string   `json:"code"`
	Name     string   `json:"name"`
	Severity Severity `json:"severity"`
	// Found is what is there.
	Found string `json:"found"`
	// Consequence is what comes of it, and Fix the command or the change that fixes it. Both are empty where nothing is
	// wrong.
	Consequence string `json:"consequence,omitempty"`
	Fix         string `json:"mend,omitempty"`
	// Stops says that `run` ends instead of starting on such a node.
	Stops bool `json:"stops,omitempty"`
}

// String returns the finding in one line, for a log or an error.
func (f Finding) String() string {
	text := f.Code + " " + f.Name + ": " + f.Found
	if f.Consequence != "" {
		text += ": " + f.Consequence
	}
	if f.Fix != "" {
		text += "; fix it by: " + f.Fix
	}
	return text
}

// worstFirst sorts by severity, then by code.
func worstFirst(all []Finding) {
	slices.SortStableFunc(all, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(b.Severity, a.Severity), cmp.Compare(a.Code, b.Code))
	})
}

// Report is what all checks say.
type Report struct {
	Node     string    `json:"node"`
	Verdict  string    `json:"verdict"`
	Findings []Finding `json:"findings"`
}

// Worst returns the worst severity.
func (r Report) Worst() Severity {
	worst := OK
	for _, f := range r.Findings {
		worst = max(worst, f.Severity)
	}
	return worst
}

// verdict says it in one sentence.
func verdict(node string, all []Finding) string {
	var n [Fails + 1]int
	for _, f := range all {
		n[f.Severity]++
	}
	unknown := ""
	if n[Unknown] > 0 {
		unknown = fmt.Sprintf(", and %s could not be looked at", count(n[Unknown], "thing"))
	}
	switch {
	case n[Fails] > 0 && n[Warns] > 0:
		return fmt.Sprintf("%s is not ready: %s must be fixed, and %s looked after%s.",
			node, count(n[Fails], "thing"), count(n[Warns], "other"), unknown)
	case n[Fails] > 0:
		return fmt.Sprintf("%s is not ready: %s must be fixed%s.", node, count(n[Fails], "thing"), unknown)
	case n[Warns] > 0:
		return fmt.Sprintf("%s will do, but %s should be fixed%s.", node, count(n[Warns], "thing"), unknown)
	case n[Unknown] > 0:
		return fmt.Sprintf("nothing wrong was found on %s, but %s could not be looked at.", node, count(n[Unknown], "thing"))
	}
	return fmt.Sprintf("%s is ready.", node)
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
