package report

import (
	"slices"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/account"
)

// Happening is something that was done while load ran.
type Happening struct {
	Name     string
	Kind     string // what it does to the endpoint: EventKinds
	Endpoint string // the identity that it is about, if any
	Command  string
	Began    time.Time
	Ended    time.Time
	Failure  string // why it could not be done
}

// EventKinds are what an event can do: to an endpoint, to the Service or to the proxy.
var EventKinds = []string{"added", "removed", "drained", "ready", "not-ready", "scheduler", "proxy", "other"}

// Event is a Happening lined up with what the requests met. Offsets are from the beginning of the window.
type Event struct {
	Name     string  `json:"name"`
	Kind     string  `json:"kind"`
	Endpoint string  `json:"endpoint,omitempty"`
	Command  string  `json:"command,omitempty"`
	At       float64 `json:"at_s"`
	Ended    float64 `json:"ended_s"`
	Failure  string  `json:"failure,omitempty"`

	// Until is the next event's beginning, or the end of the run; what follows was completed until then, in whole
	// buckets.
	Until    float64          `json:"until_s"`
	Answered int64            `json:"answered"`
	Errors   map[string]int64 `json:"errors"`
	P50      float64          `json:"p50_us"`
	P99      float64          `json:"p99_us"`

	// Of the event's endpoint, until its next event: when its first answer to a request that was started after the
	// event was complete, and when the last request was started that it answered. Null when it answered none.
	FirstAnswer *float64 `json:"first_answer_s"`
	LastRequest *float64 `json:"last_request_s"`
}

// addEvents lines the happenings up with the run.
func (p *Report) addEvents(all []Happening, r *account.Result) {
	all = slices.SortedFunc(slices.Values(all), func(a, b Happening) int { return a.Began.Compare(b.Began) })
	end := r.Window.From + r.Tally.Series.Length()
	for i, h := range all {
		at := h.Began.Sub(r.Began)
		until, endpointUntil := end, end
		if i+1 < len(all) {
			until = all[i+1].Began.Sub(r.Began)
		}
		for _, later := range all[i+1:] {
			if later.Endpoint == h.Endpoint {
				endpointUntil = later.Began.Sub(r.Began)
				break
			}
		}
		b := r.Tally.Series.Sum(at-r.Window.From, until-r.Window.From)
		e := Event{
			Name: h.Name, Kind: h.Kind, Endpoint: h.Endpoint, Command: h.Command, Failure: h.Failure,
			At: fromWindow(r, at), Ended: fromWindow(r, h.Ended.Sub(r.Began)), Until: fromWindow(r, until),
			Answered: b.Answered(), Errors: kinds(&b), P50: us(b.Percentile(50)), P99: us(b.Percentile(99)),
		}
		if h.Endpoint != "" {
			e.FirstAnswer, e.LastRequest = presence(r, h.Endpoint, at, endpointUntil)
		}
		p.Events = append(p.Events, e)
	}
}

// presence is over all targets.
func presence(r *account.Result, id string, from, until time.Duration) (first, last *float64) {
	for i := range r.Tally.Targets {
		e := r.Tally.Targets[i].Endpoints[id]
		if e == nil {
			continue
		}
		if at, found := e.FirstAnswer(from, until); found {
			if v := fromWindow(r, at); first == nil || v < *first {
				first = &v
			}
		}
		if at, found := e.LastStart(from, until); found {
			if v := fromWindow(r, at); last == nil || v > *last {
				last = &v
			}
		}
	}
	return first, last
}

func fromWindow(r *account.Result, at time.Duration) float64 { return (at - r.Window.From).Seconds() }
