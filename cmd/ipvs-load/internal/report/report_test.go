package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/account"
	"github.com/ipvs-proxier/ipvs-proxier/internal/golden"
)

const ms = time.Millisecond

func settings() Settings {
	return Settings{
		Mode: "crr", Loop: "open", Arrivals: "constant", Rate: 1000, Duration: 1, Timeout: 1, ConnectionsMax: 100, Workers: 1,
		Close: "fin", Sources: []string{}, Targets: []string{"tcp://10.96.0.10:80"},
	}
}

// result is a run of 1000 requests at 1000/s, of which the test decides what became.
func result(targets int, outcome func(i int, o *account.Outcome)) *account.Result {
	w := account.Window{To: time.Second}
	r := &account.Result{
		Began: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC), Window: w, Planned: 1000, PeakBacklog: 3,
		Tally: account.NewTally(w, time.Second, targets), Self: account.NewSelfCheck(),
	}
	for i := range 1000 {
		at := time.Duration(i) * ms
		o := account.Outcome{
			Intended: at, Started: at + 20*time.Microsecond, Connected: at + 60*time.Microsecond,
			Finished: at + time.Duration(200+i)*time.Microsecond,
			Target:   i % targets, ID: fmt.Appendf(nil, "web-%d", i%3), ClientIP: []byte("10.0.0.1"),
		}
		outcome(i, &o)
		r.Tally.Record(&o)
		r.Self.Wake.Record(20 * time.Microsecond)
		r.Self.Loop.Record(30 * time.Microsecond)
	}
	r.Self.Busy, r.Self.Ran = 40*ms, time.Second
	return r
}

func cases() map[string]*Report {
	clean := New("v1", settings(), result(1, func(int, *account.Outcome) {}))

	s := settings()
	s.Targets = []string{"tcp://10.96.0.10:80", "tcp://[fd00::1]:80"}
	s.MaxErrorRatio = 0.5
	bad := result(2, func(i int, o *account.Outcome) {
		switch {
		case i%100 == 7:
			o.Kind = account.Timeout
			o.Connected = 0
			o.SynRetransmits = 1
		case i%100 == 8:
			o.Kind = account.Other
			o.Text = "connect: operation not permitted"
		case i%100 == 9:
			o.Kind = account.Unsent
			o.Connected = 0
			o.Started, o.Finished = 2*time.Second, 2*time.Second
		case i%100 == 10:
			o.SynRetransmits = 1
			o.Connected, o.Finished = o.Started+1010*ms, o.Started+1011*ms
		case i%100 == 11:
			o.Kind = account.NoLocalPort
			o.Connected = 0
		case i%2 == 0:
			o.ClientIP = fmt.Appendf(nil, "10.0.1.%d", i%200)
		}
	})
	bad.Tally.Warmup = account.Warmup{Requests: 50, Errors: 1}
	bad.Tally.Strays = 2
	bad.Self.Busy = 950 * ms

	silent := result(1, func(_ int, o *account.Outcome) {
		o.Kind, o.Connected, o.Finished = account.Refused, 0, o.Started+15*time.Microsecond
	})
	silent.Planned, silent.Interrupted, silent.StoppedAt, silent.Window.To = 1010, true, 1010*ms, 2*time.Second
	silent.Self.Wake.Record(time.Second)
	return map[string]*Report{"clean": clean, "errors": New("v1", s, bad), "silent": New("v1", settings(), silent)}
}

func TestGolden(t *testing.T) {
	for name, p := range cases() {
		var text, object bytes.Buffer
		if err := p.WriteText(&text); err != nil {
			t.Fatal(err)
		}
		if err := p.WriteJSON(&object); err != nil {
			t.Fatal(err)
		}
		golden.Compare(t, "testdata/"+name+".txt", text.String())
		golden.Compare(t, "testdata/"+name+".json", object.String())
	}
}

func TestTheNumbersAddUp(t *testing.T) {
	for name, p := range cases() {
		r := p.Requests
		if r.Planned != r.Answered+r.Errors+r.Unfinished {
			t.Errorf("%s: %+v does not add up", name, r)
		}
		var endpoints, targets, kinds int64
		var share float64
		for _, e := range p.Endpoints {
			endpoints += e.Answered
			share += e.Share
		}
		for _, x := range p.Targets {
			targets += x.Requests
		}
		for _, n := range p.Errors {
			kinds += n
		}
		if endpoints != r.Answered || kinds != r.Errors || targets != r.Answered+r.Errors {
			t.Errorf("%s: endpoints %d, kinds %d, targets %d beside %+v", name, endpoints, kinds, targets, r)
		}
		if r.Answered > 0 && (share < 0.999999 || share > 1.000001) {
			t.Errorf("%s: the shares sum to %v", name, share)
		}
	}
}

func TestVerdict(t *testing.T) {
	refused := func(n int64) map[string]int64 { return map[string]int64{"refused": n} }
	for name, tc := range map[string]struct {
		report  Report
		allowed float64
		want    int
	}{
		"everything answered":          {report: Report{Requests: Requests{Answered: 100}}, want: ExitFine},
		"one error, none allowed":      {Report{Requests: Requests{Answered: 99, Errors: 1}}, 0, ExitErrors},
		"as many errors as allowed":    {Report{Requests: Requests{Answered: 99, Errors: 1}}, 0.01, ExitFine},
		"one error more than allowed":  {Report{Requests: Requests{Answered: 98, Errors: 2}}, 0.01, ExitErrors},
		"nothing answered":             {Report{Requests: Requests{Errors: 5}}, 0, ExitUnreachable},
		"nothing answered, any number": {Report{Requests: Requests{Errors: 5}}, 1, ExitUnreachable},
		"nothing done at all":          {Report{}, 0, ExitUnreachable},
		"all refused":                  {Report{Requests: Requests{Errors: 5}, Errors: refused(5)}, 1, ExitRefused},
		"all but one refused":          {Report{Requests: Requests{Errors: 6}, Errors: refused(5)}, 1, ExitUnreachable},
		"two in a hundred late":        {Report{Requests: Requests{Answered: 100}, Backlog: Backlog{AtEnd: 2}}, 0, ExitClientLimit},
		"one in a hundred late":        {Report{Requests: Requests{Answered: 100}, Backlog: Backlog{AtEnd: 1}}, 0, ExitFine},
		"no ports left":                {Report{Requests: Requests{Answered: 90, Errors: 10}, Errors: map[string]int64{"no-local-port": 10}}, 1, ExitClientLimit},
		"a held connection lost":       {Report{Requests: Requests{Answered: 100}, Connections: &Connections{Held: 10, Lost: 1}}, 0, ExitErrors},
		"as many lost as allowed":      {Report{Requests: Requests{Answered: 100}, Connections: &Connections{Held: 10, Lost: 1}}, 0.1, ExitFine},
		"an event that failed":         {Report{Requests: Requests{Answered: 100}, Events: []Event{{Name: "x", Failure: "exit status 1"}}}, 0, ExitErrors},
	} {
		p := &tc.report
		p.Requests.Planned = p.Requests.Answered + p.Requests.Errors
		p.Requests.ErrorRatio = ratio(p.Requests.Errors, p.Requests.Planned)
		p.Settings.MaxErrorRatio = tc.allowed
		if got := p.judge(); got.ExitStatus != tc.want || got.Text == "" {
			t.Errorf("%s: %+v, want exit status %d and a sentence", name, got, tc.want)
		}
	}
}

func TestPercentilesBelowTheJitterAreNamed(t *testing.T) {
	r := result(1, func(int, *account.Outcome) {})
	for range 100 {
		r.Self.Wake.Record(800 * time.Microsecond)
	}
	got := New("v1", settings(), r).SelfCheck
	// Latencies run evenly from 200 µs to 1.199 ms: p50 is 0.7 ms and lies below, p90 is 1.1 ms and does not.
	if d := cmp.Diff([]string{"latency_us.p50", "service_us.p50"}, got.BelowJitter); d != "" {
		t.Error(d)
	}
}

func TestJSONHasNoNulls(t *testing.T) {
	empty := &account.Result{Tally: account.NewTally(account.Window{To: 1}, 1, 1), Self: account.NewSelfCheck()}
	b, err := json.Marshal(New("v1", settings(), empty))
	if err != nil || bytes.Contains(b, []byte("null")) {
		t.Errorf("%s, %v", b, err)
	}
}

func TestDurationsKeepThreeDigits(t *testing.T) {
	for us, want := range map[float64]string{
		0: "0 us", 4.567: "4.57 us", 999.4: "999 us", 999.6: "1 ms", 1234: "1.23 ms", 999_499: "999 ms", 999_600: "1 s",
		12_345_678: "12.3 s", 123_456_789: "123 s",
	} {
		if got := Duration(us); got != want {
			t.Errorf("Duration(%v) = %q, want %q", us, got, want)
		}
	}
}

func TestWhatWasWrittenCanBeRead(t *testing.T) {
	var b bytes.Buffer
	all := cases()
	for _, name := range []string{"clean", "errors", "silent"} {
		if err := all[name].WriteJSON(&b); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Read(&b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]*Report{all["clean"], all["errors"], all["silent"]}, got); d != "" {
		t.Error(d)
	}
}

func TestWhatIsNoReportIsNotRead(t *testing.T) {
	for text, want := range map[string]string{
		"":                            "it is empty",
		"loadavg":                     "not the JSON of a run",
		`{"schema":"ipvs-load/v2"}`:   `its schema is "ipvs-load/v2"`,
		`{}`:                          `its schema is ""`,
		`{"schema":"ipvs-load/v1"} x`: "not the JSON of a run",
		`{"schema":"ipvs-load/v1","series":{"answered":[1]}}`:                                                                "series.bucket_s is 0",
		`{"schema":"ipvs-load/v1","series":{"bucket_s":1,"answered":[1],"p50_us":[1]}}`:                                      "of one length",
		`{"schema":"ipvs-load/v1","series":{"bucket_s":1,"answered":[1],"p50_us":[1],"p99_us":[1],"errors":{"refused":[]}}}`: "series.errors.refused is of 0 entries",
	} {
		if _, err := Read(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", text, err, want)
		}
	}
}

func TestTheSeriesAndTheSpectrumAgreeWithTheWhole(t *testing.T) {
	for name, p := range cases() {
		var answered, errors int64
		for i, n := range p.Series.Answered {
			answered += n
			for _, counts := range p.Series.Errors {
				errors += counts[i]
			}
		}
		if answered != p.Requests.Answered || errors != p.Requests.Errors {
			t.Errorf("%s: the series has %d answers and %d errors, the run %+v", name, answered, errors, p.Requests)
		}
		last := Quantile{Percentile: -1}
		for _, q := range p.LatencySpectrum {
			if q.Percentile <= last.Percentile || q.Time < last.Time {
				t.Errorf("%s: %+v after %+v", name, q, last)
			}
			last = q
		}
		if first := p.LatencySpectrum[0]; first != (Quantile{0, p.Latency.Min}) || last != (Quantile{100, p.Latency.Max}) {
			t.Errorf("%s: from %+v to %+v, want the extremes of %+v", name, first, last, p.Latency)
		}
	}
}

func TestFairness(t *testing.T) {
	counts := func(n ...int64) *Target {
		x := &Target{}
		for i, n := range n {
			x.Answered += n
			x.Endpoints = append(x.Endpoints, EndpointShare{ID: fmt.Sprintf("web-%d", i+1), Answered: n, Share: 1})
		}
		return x
	}
	for name, tc := range map[string]struct {
		target  *Target
		weights map[string]float64
		want    *Fairness
	}{
		"no endpoint":           {target: counts()},
		"one endpoint":          {counts(7), nil, &Fairness{Expected: "equal", Jain: 1, MaxOverMean: 1, P: 1}},
		"even":                  {counts(50, 50), nil, &Fairness{Expected: "equal", Jain: 1, MaxOverMean: 1, Degrees: 1, P: 1}},
		"three times the other": {counts(75, 25), nil, &Fairness{Expected: "equal", Jain: 0.8, MaxOverMean: 1.5, ChiSquare: 25, Degrees: 1, P: 5.733e-7}},
		"as weighted":           {counts(75, 25), map[string]float64{"web-1": 3, "web-2": 1}, &Fairness{Expected: "weights", Jain: 1, MaxOverMean: 1, Degrees: 1, P: 1}},
		"one that was given is silent": {counts(100), map[string]float64{"web-1": 1, "web-2": 1},
			&Fairness{Expected: "weights", Jain: 0.5, MaxOverMean: 2, ChiSquare: 100, Degrees: 1, P: 1.524e-23}},
		"one that was not given answers": {counts(90, 10), map[string]float64{"web-1": 1}, &Fairness{Expected: "weights", Jain: 1, MaxOverMean: 0.9, ChiSquare: -1, Degrees: 1, Unexpected: 10}},
	} {
		tc.target.expect(tc.weights)
		if d := cmp.Diff(tc.want, tc.target.Fairness, cmpopts.EquateApprox(0.001, 1e-30)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}
