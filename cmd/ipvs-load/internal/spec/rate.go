package spec

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/schedule"
)

// Rate is one number of requests per second, or phases of it. It is a value of a flag too.
type Rate struct {
	PerSecond float64
	Phases    []schedule.Phase
}

func (r *Rate) isSet() bool { return r.PerSecond != 0 || len(r.Phases) > 0 }

// Peak is the highest rate.
func (r *Rate) Peak() float64 { return schedule.Plan{Rate: r.PerSecond, Phases: r.Phases}.Peak() }

// Set reads "1000" or phases such as "100:10s,100..1000:1m".
func (r *Rate) Set(s string) error {
	if strings.Contains(s, ":") || strings.Contains(s, "..") {
		phases, err := schedule.ParsePhases(s)
		if err != nil {
			return err
		}
		*r = Rate{Phases: phases}
		return nil
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return fmt.Errorf("%q is not a number of requests per second, nor phases such as 100:10s,100..1000:1m", s)
	}
	*r = Rate{PerSecond: v}
	return nil
}

// String gives the form that Set reads, "" for no rate.
func (r *Rate) String() string {
	switch {
	case len(r.Phases) > 0:
		var all []string
		for _, p := range r.Phases {
			all = append(all, p.String())
		}
		return strings.Join(all, ",")
	case r.PerSecond == 0:
		return ""
	}
	return strconv.FormatFloat(r.PerSecond, 'g', -1, 64)
}

// Type names the flag's value in help.
func (r *Rate) Type() string { return "N|PHASES" }

// UnmarshalJSON reads a number, or a text as Set does; an empty one is no rate.
func (r *Rate) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) != nil {
		s = string(b)
	} else if s == "" {
		*r = Rate{}
		return nil
	}
	return r.Set(s)
}

// MarshalJSON writes what UnmarshalJSON reads.
func (r Rate) MarshalJSON() ([]byte, error) { return json.Marshal(r.String()) }
