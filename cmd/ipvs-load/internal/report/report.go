package report

import (
	"cmp"
	"slices"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/account"
)

// Schema names the JSON form. Fields may be added under the same name; one that changes its meaning changes the name.
const Schema = "ipvs-load/v1"

// Report is a run. Times are in microseconds where the name ends in _us and in seconds where it ends in _s; shares and
// ratios are from 0 to 1. docs/ipvs-load.md describes every field.
type Report struct {
	Schema      string    `json:"schema"`
	Version     string    `json:"version"`
	Began       time.Time `json:"began"`
	Interrupted bool      `json:"interrupted"`
	Settings    Settings  `json:"settings"`
	Requests    Requests  `json:"requests"`
	Rate        Rate      `json:"rate"`
	Backlog     Backlog   `json:"backlog"`

	Errors             map[string]int64 `json:"errors"`
	OtherErrors        []OtherError     `json:"other_errors"`
	TimeoutsConnecting int64            `json:"timeouts_connecting"`
	SynRetransmissions SynRetransmits   `json:"syn_retransmissions"`
	StrayDatagrams     int64            `json:"stray_datagrams"`

	Latency         Percentiles  `json:"latency_us"`
	AnsweredLatency Percentiles  `json:"answered_latency_us"`
	Service         Percentiles  `json:"service_us"`
	Connect         *Percentiles `json:"connect_us,omitempty"`
	StartLag        Percentiles  `json:"start_lag_us"`

	Endpoints   []Endpoint   `json:"endpoints"`
	Targets     []Target     `json:"targets"`
	Stickiness  Stickiness   `json:"stickiness"`
	Connections *Connections `json:"connections,omitempty"`
	Phases      []PhaseStats `json:"phases,omitempty"`
	Events      []Event      `json:"events,omitempty"`
	Series      Series       `json:"series"`

	// The whole distributions, for plots.
	LatencySpectrum  []Quantile `json:"latency_spectrum"`
	AnsweredSpectrum []Quantile `json:"answered_latency_spectrum"`
	ServiceSpectrum  []Quantile `json:"service_spectrum"`

	Throughput *Throughput `json:"throughput,omitempty"`
	Warmup     Warmup      `json:"warmup"`
	SelfCheck  SelfCheck   `json:"self_check"`
	Verdict    Verdict     `json:"verdict"`
}

// The values of Settings.Loop.
const (
	openLoop   = "open"
	closedLoop = "closed"
)

// Loop names whether the requests' starts depend on the answers.
func Loop(closed bool) string {
	if closed {
		return closedLoop
	}
	return openLoop
}

// Settings are what the user asked for, with every default filled in.
type Settings struct {
	Mode           string   `json:"mode"`
	Arrivals       string   `json:"arrivals"`
	Loop           string   `json:"loop"` // open or closed
	Rate           float64  `json:"rate_per_s"`
	Phases         []Phase  `json:"phases,omitempty"`
	Connections    int      `json:"connections,omitempty"`
	Duration       float64  `json:"duration_s"`
	Count          int64    `json:"count,omitempty"`
	Warmup         float64  `json:"warmup_s"`
	Timeout        float64  `json:"timeout_s"`
	ConnectionsMax int      `json:"connections_max"`
	Workers        int      `json:"workers"`
	UDPPort        string   `json:"udp_port,omitempty"`
	Close          string   `json:"close,omitempty"`
	Direction      string   `json:"direction,omitempty"`
	Seed           uint64   `json:"seed"`
	Sources        []string `json:"sources"`
	Targets        []string `json:"targets"`
	MaxErrorRatio  float64  `json:"max_error_ratio"`

	// Weights are the expected shares of the endpoints; those that are not named get none. Empty means that all that
	// answered should have got the same.
	Weights map[string]float64 `json:"weights,omitempty"`
}

// Phase is a part of the window in which the rate goes evenly from one value to another.
type Phase struct {
	From   float64 `json:"from_per_s"`
	To     float64 `json:"to_per_s"`
	Length float64 `json:"length_s"`
}

// Requests add up: planned = answered + errors + unfinished.
type Requests struct {
	Planned    int64   `json:"planned"`
	Answered   int64   `json:"answered"`
	Errors     int64   `json:"errors"`
	Unfinished int64   `json:"unfinished"`
	ErrorRatio float64 `json:"error_ratio"`
}

// Rate is what was asked of the target and what it answered, over the measured window.
type Rate struct {
	Window   float64 `json:"window_s"`
	Offered  float64 `json:"offered_per_s"`
	Achieved float64 `json:"achieved_per_s"`
}

// Backlog is the requests that were due but not started.
type Backlog struct {
	Peak  int64 `json:"peak"`
	AtEnd int64 `json:"at_end"`
}

// OtherError is an error without a kind of its own.
type OtherError struct {
	Text  string `json:"text"`
	Count int64  `json:"count"`
}

// SynRetransmits counts connections by the delay that lost SYNs put on them.
type SynRetransmits struct {
	OneSecond    int64 `json:"connected_after_1s"`
	ThreeSeconds int64 `json:"connected_after_3s"`
	Never        int64 `json:"never_connected"`
}

// Percentiles are a distribution of times in microseconds.
type Percentiles struct {
	Count int64   `json:"count"`
	Min   float64 `json:"min"`
	Mean  float64 `json:"mean"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p99_9"`
	Max   float64 `json:"max"`
}

// Endpoint is one identity that answered, over all targets.
type Endpoint struct {
	ID       string  `json:"id"`
	Answered int64   `json:"answered"`
	Share    float64 `json:"share"`

	Clients       []Client `json:"clients"`
	ClientsBeyond int64    `json:"answered_to_further_clients"`
}

// Client is an address that an endpoint saw requests from.
type Client struct {
	Address  string `json:"address"`
	Answered int64  `json:"answered"`
}

// Target is what became of the requests to one target. The shares of its endpoints are of its own answers.
type Target struct {
	Target          string          `json:"target"`
	Requests        int64           `json:"requests"`
	Answered        int64           `json:"answered"`
	Errors          int64           `json:"errors"`
	Endpoints       []EndpointShare `json:"endpoints"`
	EndpointsBeyond int64           `json:"answered_by_further_endpoints"`
	Fairness        *Fairness       `json:"fairness,omitempty"`
}

// EndpointShare is an endpoint's part in the answers of one target.
type EndpointShare struct {
	ID       string  `json:"id"`
	Answered int64   `json:"answered"`
	Share    float64 `json:"share"`
	Expected float64 `json:"expected_share"`
}

// Warmup is what happened before the window; it is counted nowhere else.
type Warmup struct {
	Requests int64 `json:"requests"`
	Errors   int64 `json:"errors"`
}

// SelfCheck is what the instrument knows about its own part in the numbers.
type SelfCheck struct {
	Jitter      float64     `json:"jitter_us"`
	WakeLate    Percentiles `json:"wake_late_us"`
	Loop        Percentiles `json:"loop_us"`
	BusyRatio   float64     `json:"busy_ratio"`
	BelowJitter []string    `json:"below_jitter"`
	Warnings    []string    `json:"warnings"`
}

// New makes the report of a run, and of what was done meanwhile.
func New(version string, s Settings, r *account.Result, happenings ...Happening) *Report {
	t := r.Tally
	p := &Report{
		Schema: Schema, Version: version, Began: r.Began.UTC().Round(0), Interrupted: r.Interrupted, Settings: s,
		Requests: Requests{
			Planned: r.Planned, Answered: t.Kinds[account.Answered], Errors: t.ErrorCount(), Unfinished: r.Unfinished(),
			ErrorRatio: ratio(t.ErrorCount(), t.Requests()),
		},
		Backlog:            Backlog{Peak: r.PeakBacklog, AtEnd: t.LateStart},
		Errors:             map[string]int64{},
		OtherErrors:        []OtherError{},
		TimeoutsConnecting: t.TimeoutsConnecting,
		SynRetransmissions: SynRetransmits(t.Syn),
		StrayDatagrams:     t.Strays,
		Latency:            percentiles(t.Latency),
		AnsweredLatency:    percentiles(t.AnsweredLatency),
		Service:            percentiles(t.Service),
		StartLag:           percentiles(t.StartLag),
		LatencySpectrum:    spectrum(t.Latency),
		AnsweredSpectrum:   spectrum(t.AnsweredLatency),
		ServiceSpectrum:    spectrum(t.Service),
		Warmup:             Warmup(t.Warmup),
	}
	if t.Connect.Count() > 0 {
		connect := percentiles(t.Connect)
		p.Connect = &connect
	}
	p.Rate = rate(r)
	for _, k := range account.Errors() {
		if n := t.Kinds[k]; n > 0 {
			p.Errors[k.String()] = n
		}
	}
	for text, n := range t.OtherText {
		p.OtherErrors = append(p.OtherErrors, OtherError{text, n})
	}
	slices.SortFunc(p.OtherErrors, func(a, b OtherError) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Text, b.Text))
	})
	p.attribute(s.Targets, t)
	p.Stickiness = stickiness(t)
	if p.Settings.Connections > 0 {
		p.Connections = &Connections{
			Held: p.Settings.Connections, Opened: t.Held.Opened, Failed: t.Held.Failed, Lost: t.Held.Lost,
		}
	}
	p.Series = series(t.Series)
	p.Phases = phases(p.Settings, t.Series)
	p.Throughput = throughput(p.Settings, r)
	p.addEvents(happenings, r)
	p.SelfCheck = selfCheck(p, r)
	p.Verdict = p.judge()
	return p
}

// rate is over the window or, when the run was interrupted, over the part of it that there was.
func rate(r *account.Result) Rate {
	window := r.Window.To - r.Window.From
	if r.Interrupted {
		window = max(min(window, r.StoppedAt-r.Window.From), 0)
	}
	if window == 0 {
		return Rate{}
	}
	return Rate{
		Window:   window.Seconds(),
		Offered:  float64(r.Planned) / window.Seconds(),
		Achieved: float64(r.Tally.InWindow) / window.Seconds(),
	}
}

func (p *Report) attribute(names []string, t *account.Tally) {
	all := map[string]*account.Endpoint{}
	p.Targets, p.Endpoints = []Target{}, []Endpoint{}
	for i := range t.Targets {
		from := &t.Targets[i]
		to := Target{
			Target: names[i], Requests: from.Requests, Answered: from.Answered, EndpointsBeyond: from.Beyond,
			Endpoints: []EndpointShare{},
		}
		for id, e := range from.Endpoints {
			to.Endpoints = append(to.Endpoints, EndpointShare{ID: id, Answered: e.Answered})
			if all[id] == nil {
				all[id] = &account.Endpoint{Clients: map[string]*int64{}}
			}
			all[id].Merge(e)
		}
		to.Errors = to.Requests - to.Answered
		for j := range to.Endpoints {
			to.Endpoints[j].Share = ratio(to.Endpoints[j].Answered, to.Answered)
		}
		to.expect(p.Settings.Weights)
		p.Targets = append(p.Targets, to)
	}
	for id, e := range all {
		p.Endpoints = append(p.Endpoints, endpoint(id, e, p.Requests.Answered))
	}
	slices.SortFunc(p.Endpoints, func(a, b Endpoint) int { return cmp.Compare(a.ID, b.ID) })
}

func endpoint(id string, e *account.Endpoint, answered int64) Endpoint {
	p := Endpoint{
		ID: id, Answered: e.Answered, Share: ratio(e.Answered, answered), ClientsBeyond: e.Beyond, Clients: []Client{},
	}
	for address, n := range e.Clients {
		p.Clients = append(p.Clients, Client{address, *n})
	}
	slices.SortFunc(p.Clients, func(a, b Client) int {
		return cmp.Or(cmp.Compare(b.Answered, a.Answered), cmp.Compare(a.Address, b.Address))
	})
	return p
}

func percentiles(d *account.Distribution) Percentiles {
	return Percentiles{
		Count: d.Count(), Min: us(d.Min()), Mean: us(d.Mean()),
		P50: us(d.Percentile(50)), P90: us(d.Percentile(90)), P99: us(d.Percentile(99)), P999: us(d.Percentile(99.9)),
		Max: us(d.Max()),
	}
}

func us(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func ratio(part, whole int64) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}
