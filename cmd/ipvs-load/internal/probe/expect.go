package probe

import (
	"fmt"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/account"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/wire"
)

// Finding is what a probe says about the expectation.
type Finding uint8

// The findings. What is Neutral speaks neither for nor against: another endpoint's answer, where one endpoint is waited
// for.
const (
	Neutral Finding = iota
	Met
	Violated
)

// Expectation is what shall be so after the change.
type Expectation struct {
	what     string // answered, refused, endpoint, not-endpoint
	endpoint string
}

// ParseExpectation reads "answered", "refused", "endpoint=ID" or "not-endpoint=ID".
func ParseExpectation(s string) (Expectation, error) {
	what, id, named := strings.Cut(s, "=")
	e := Expectation{what, id}
	switch what {
	case "answered", "refused":
		if named {
			return e, fmt.Errorf("expectation %q: %s names no endpoint", s, what)
		}
		return e, nil
	case "endpoint", "not-endpoint":
		if err := wire.CheckID(id); err != nil {
			return e, fmt.Errorf("expectation %q: write %s=ID: %w", s, what, err)
		}
		return e, nil
	}
	return e, fmt.Errorf("expectation %q is not known; allowed are answered, refused, endpoint=ID and not-endpoint=ID", s)
}

func (e Expectation) String() string {
	if e.endpoint != "" {
		return e.what + "=" + e.endpoint
	}
	return e.what
}

// Find judges one probe.
//
//	answered          met by any answer, violated by anything else
//	refused           met by a refusal, violated by anything else
//	endpoint=ID       met by an answer of ID, violated by what is no answer; the answers of others are neutral
//	not-endpoint=ID   met by an answer of another, violated by one of ID and by what is no answer
func (e Expectation) Find(kind account.Kind, id string) Finding {
	answered := kind == account.Answered
	switch {
	case e.what == "answered" && answered, e.what == "refused" && kind == account.Refused:
		return Met
	case e.what == "endpoint" && answered && id == e.endpoint, e.what == "not-endpoint" && answered && id != e.endpoint:
		return Met
	case e.what == "endpoint" && answered:
		return Neutral
	}
	return Violated
}
