package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/account"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const ms = time.Millisecond

func settings() Settings {
	return Settings{
		Mode: "crr", Arrivals: "constant", Rate: 1000, Duration: 1, Timeout: 1, ConnectionsMax: 100, Workers: 1,
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
			Intended: at, Started: at + 20*time.Microsecond, Connected: at + 60*time.Microsecond, Finished: at + time.Duration(200+i)*time.Microsecond,
			Target: i % targets, ID: fmt.Appendf(nil, "web-%d", i%3), ClientIP: []byte("10.0.0.1"),
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
		golden(t, name+".txt", text.Bytes())
		golden(t, name+".json", object.Bytes())
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s (-want +got):\n%s", name, d)
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

func TestExitStatus(t *testing.T) {
	for name, tc := range map[string]struct {
		answered, errors int64
		allowed          float64
		want             int
	}{
		"everything answered":          {100, 0, 0, ExitFine},
		"one error, none allowed":      {99, 1, 0, ExitErrors},
		"as many errors as allowed":    {99, 1, 0.01, ExitFine},
		"one error more than allowed":  {98, 2, 0.01, ExitErrors},
		"nothing answered":             {0, 5, 0, ExitNoAnswer},
		"nothing answered, any number": {0, 5, 1, ExitNoAnswer},
		"nothing done at all":          {0, 0, 0, ExitNoAnswer},
	} {
		p := &Report{Requests: Requests{Answered: tc.answered, Errors: tc.errors, ErrorRatio: ratio(tc.errors, tc.answered+tc.errors)}}
		p.Settings.MaxErrorRatio = tc.allowed
		if got := p.ExitStatus(); got != tc.want {
			t.Errorf("%s: exit status %d, want %d", name, got, tc.want)
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
		if got := duration(us); got != want {
			t.Errorf("duration(%v) = %q, want %q", us, got, want)
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
	shares := func(s ...float64) []Endpoint {
		var all []Endpoint
		for _, x := range s {
			all = append(all, Endpoint{Share: x})
		}
		return all
	}
	for name, tc := range map[string]struct {
		endpoints []Endpoint
		want      *Fairness
	}{
		"no endpoint":           {nil, nil},
		"one endpoint":          {shares(1), nil},
		"even":                  {shares(0.5, 0.5), &Fairness{Jain: 1, MaxToMean: 1}},
		"three times the other": {shares(0.75, 0.25), &Fairness{Jain: 0.8, MaxToMean: 1.5}},
	} {
		if d := cmp.Diff(tc.want, fairness(tc.endpoints)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}
