package account

import "time"

// Outcome is one finished request. Its slices need to live only as long as the call that records it.
type Outcome struct {
	Kind      Kind
	Target    int // index into the run's targets
	Intended  time.Duration
	Started   time.Duration // of an unsent request: when it was given up
	Connected time.Duration // when the connection stood; 0 when it never did, and for UDP
	Finished  time.Duration
	ID        []byte // who answered
	ClientIP  []byte // the client's address that the server saw
	Text      string // of the kind Other

	// SynRetransmits is how often the kernel sent the SYN again, as the kernel itself counts it.
	SynRetransmits int
}

// Window is the measured part of a run: from From on, up to To.
type Window struct{ From, To time.Duration }

// Tally is the books of one worker, or of a whole run after merging.
type Tally struct {
	window  Window
	timeout time.Duration
	watch   map[string]bool

	Kinds     Counts
	OtherText map[string]int64 // bounded to maxTexts
	InWindow  int64            // answers that came before the window's end
	LateStart int64            // requests that were due in the window and were not started in it
	Warmup    Warmup

	Latency         *Distribution // every request, whatever became of it
	AnsweredLatency *Distribution // answered requests alone
	Service         *Distribution // every request that was started
	Connect         *Distribution // SYN to SYN-ACK
	StartLag        *Distribution // actual minus intended start
	Series          *Series       // every request, by when it ended

	// Syn counts connections by how long their SYN's retransmissions delayed them.
	Syn SynDelays

	// TimeoutsConnecting are the timeouts (counted in Kinds as well) of which the connection never stood.
	TimeoutsConnecting int64

	// Strays are datagrams that answered no request: too late, twice, or from elsewhere.
	Strays int64

	Targets []TargetTally
	Held    Held
	Streams []int64 // mode stream: bytes of each connection within the window
}

// Held counts the connections of the modes that keep theirs, from before the window until its end.
type Held struct {
	Opened int64 // connected, the first time and again
	Failed int64 // attempts that did not connect
	Lost   int64 // ended by the other side, or given up after an error, though they stood
}

// Warmup counts the requests before the window, which enter nothing else.
type Warmup struct{ Requests, Errors int64 }

// SynDelays counts retransmitted SYNs by the bump that they put on the latency. Linux sends the first again after 1 s
// (RFC 6298) and the second 2 s later; since 6.5 (net.ipv4.tcp_syn_linear_timeouts) the first four come 1 s apart.
type SynDelays struct {
	OneSecond    int64 // connected after 1 s or more, but before 3 s
	ThreeSeconds int64 // connected after 3 s or more
	Never        int64 // not connected at all
}

// NewTally returns empty books for a run with that many targets. Of the endpoints in watch it notes when they answered.
func NewTally(window Window, timeout time.Duration, targets int, watch ...string) *Tally {
	t := &Tally{
		window: window, timeout: timeout,
		OtherText: map[string]int64{},
		Latency:   NewDistribution(), AnsweredLatency: NewDistribution(), Service: NewDistribution(),
		Connect: NewDistribution(), StartLag: NewDistribution(), Series: NewSeries(),
		Targets: make([]TargetTally, targets),
	}
	for i := range t.Targets {
		t.Targets[i].Endpoints = map[string]*Endpoint{}
	}
	if len(watch) > 0 {
		t.watch = map[string]bool{}
		for _, id := range watch {
			t.watch[id] = true
		}
	}
	return t
}

// EndWindow ends the window earlier than was planned.
func (t *Tally) EndWindow(at time.Duration) { t.window.To = at }

// Record enters one outcome. The latency under which it was entered is returned, for a live display.
func (t *Tally) Record(o *Outcome) time.Duration {
	finished := o.Finished
	if o.Kind == Timeout {
		finished = o.Started + t.timeout
	}
	latency := finished - o.Intended
	if o.Intended < t.window.From {
		t.Warmup.Requests++
		if o.Kind != Answered {
			t.Warmup.Errors++
		}
		return latency
	}
	t.Kinds[o.Kind]++
	t.Latency.Record(latency)
	t.Series.Record(finished-t.window.From, o.Kind, latency)
	t.StartLag.Record(o.Started - o.Intended)
	if o.Started >= t.window.To {
		t.LateStart++
	}
	target := &t.Targets[o.Target]
	target.Requests++
	if o.Kind != Unsent {
		t.Service.Record(finished - o.Started)
	}
	if o.Connected > 0 {
		t.Connect.Record(o.Connected - o.Started)
	}
	if o.SynRetransmits > 0 {
		t.Syn.add(o)
	}
	switch o.Kind {
	case Answered:
		t.AnsweredLatency.Record(latency)
		if o.Finished < t.window.To {
			t.InWindow++
		}
		target.Answered++
		if o.ID == nil {
			break // no request was sent
		}
		if e := target.answered(o.ID, o.ClientIP); e != nil && t.watch[string(o.ID)] {
			e.presence.add(o.Started, o.Finished)
		}
	case Timeout:
		if o.Connected == 0 {
			t.TimeoutsConnecting++
		}
	case Other:
		addText(t.OtherText, o.Text, 1)
	}
	return latency
}

func (s *SynDelays) add(o *Outcome) {
	switch took := o.Connected - o.Started; {
	case o.Connected == 0:
		s.Never++
	case took < 3*time.Second:
		s.OneSecond++
	default:
		s.ThreeSeconds++
	}
}

// Requests is the number of measured requests that have an outcome.
func (t *Tally) Requests() int64 { return t.Kinds[Answered] + t.ErrorCount() }

// ErrorCount is the number of measured requests that were not answered.
func (t *Tally) ErrorCount() int64 { return t.Kinds.Errors() }

// Merge adds the books of another worker of the same run.
func (t *Tally) Merge(o *Tally) {
	t.Kinds.add(&o.Kinds)
	for text, n := range o.OtherText {
		addText(t.OtherText, text, n)
	}
	t.InWindow += o.InWindow
	t.LateStart += o.LateStart
	t.Warmup.Requests += o.Warmup.Requests
	t.Warmup.Errors += o.Warmup.Errors
	t.Latency.Merge(o.Latency)
	t.AnsweredLatency.Merge(o.AnsweredLatency)
	t.Service.Merge(o.Service)
	t.Connect.Merge(o.Connect)
	t.StartLag.Merge(o.StartLag)
	t.Syn.OneSecond += o.Syn.OneSecond
	t.Syn.ThreeSeconds += o.Syn.ThreeSeconds
	t.Syn.Never += o.Syn.Never
	t.TimeoutsConnecting += o.TimeoutsConnecting
	t.Strays += o.Strays
	t.Series.Merge(o.Series)
	t.Streams = append(t.Streams, o.Streams...)
	t.Held.Opened += o.Held.Opened
	t.Held.Failed += o.Held.Failed
	t.Held.Lost += o.Held.Lost
	for i := range o.Targets {
		t.Targets[i].merge(&o.Targets[i])
	}
}

// maxTexts bounds the distinct texts of the kind Other; the rest share one line.
const maxTexts = 16

// furtherTexts gathers what exceeds maxTexts.
const furtherTexts = "further kinds of error"

func addText(m map[string]int64, text string, n int64) {
	if _, known := m[text]; !known && len(m) >= maxTexts {
		text = furtherTexts
	}
	m[text] += n
}
