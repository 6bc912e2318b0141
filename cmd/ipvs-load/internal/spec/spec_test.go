package spec

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/engine"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/schedule"
)

func load(text string) (Load, error) {
	var l Load
	return l, yaml.UnmarshalStrict([]byte(text), &l)
}

func TestDefaultsByMode(t *testing.T) {
	for text, check := range map[string]func(c engine.Config) bool{
		`{mode: crr, targets: ["tcp://127.0.0.1:1"], rate: 100}`: func(c engine.Config) bool {
			return c.Plan.Duration == DefaultDuration && c.Timeout == DefaultTimeout && c.Plan.Seed == 1 && c.Connections == 0 &&
				c.ConnectionsMax > 0 &&
				c.Plan.Workers == 1 && c.Close == engine.FIN && c.UDPPort == engine.Rotate && c.Direction == ""
		},
		`{mode: rr, targets: ["tcp://127.0.0.1:1"], rate: 100}`: func(c engine.Config) bool { return c.Connections == DefaultConnections },
		`{mode: idle, targets: ["tcp://127.0.0.1:1"], connections: 600, interval: 30s}`: func(c engine.Config) bool {
			return c.Connections == 600 && c.Plan.Rate == 20
		},
		`{mode: idle, targets: ["tcp://127.0.0.1:1"]}`: func(c engine.Config) bool { return c.Plan.Rate == 1 },
		`{mode: stream, targets: ["tcp://127.0.0.1:1"], duration: 5s}`: func(c engine.Config) bool {
			return c.Plan.Closed && c.Direction == engine.Download && c.Connections == DefaultConnections &&
				c.Plan.Duration == 5*time.Second
		},
		`{mode: crr, targets: ["tcp://127.0.0.1:1"], rate: "100:1s,100..200:2s"}`: func(c engine.Config) bool {
			return len(c.Plan.Phases) == 2 && c.Plan.Duration == 0 && c.Plan.Window() == 3*time.Second
		},
		`{mode: crr, targets: ["tcp://127.0.0.1:1"], closed: true, concurrency: 8}`: func(c engine.Config) bool {
			return c.Plan.Closed && c.ConnectionsMax == 8 && c.Plan.Workers == 1
		},
		`{mode: rr, targets: ["tcp://127.0.0.1:1"], closed: true, concurrency: 8}`: func(c engine.Config) bool {
			return c.Plan.Closed && c.Connections == 8
		},
	} {
		l, err := load(text)
		if err != nil {
			t.Fatal(err)
		}
		c, _, err := l.Config()
		if err != nil || !check(c) {
			t.Errorf("%s: %v, %+v", text, err, c)
		}
	}
}

func TestWhatCannotBeIsNamed(t *testing.T) {
	const crr = `mode: crr, targets: ["tcp://127.0.0.1:1"]`
	for text, want := range map[string]string{
		`{targets: ["tcp://127.0.0.1:1"], rate: 1}`:            "no mode is given",
		`{mode: crr, rate: 1}`:                                 "no target is given",
		`{` + crr + `}`:                                        "rate 0 is out of range",
		`{` + crr + `, rate: 1, closed: true, concurrency: 1}`: "neither a rate nor arrivals",
		`{` + crr + `, closed: true}`:                          "needs a concurrency",
		`{` + crr +
			`, rate: 1, concurrency: 2}`: "concurrency 2 is for a closed loop",
		`{` + crr +
			`, rate: 1, connections: 2}`: "connections 2 are for modes rr, idle and stream",
		`{` + crr + `, rate: 1, interval: 2s}`: "interval 2s is for mode idle",
		`{` + crr +
			`, rate: 1, direction: upload}`: "direction \"upload\" does not fit mode crr",
		`{` + crr +
			`, rate: 1, weights: {web: -1}}`: "weight -1 of endpoint web is out of range",
		`{` + crr +
			`, rate: 1, weights: {"a b": 1}}`: "weights: an identity holds printable ASCII",
		`{` + crr +
			`, rate: 1, maxErrorRatio: 2}`: "max-error-ratio 2 is out of range",
		`{` + crr + `, rate: 1, arrivals: daily}`: `arrivals "daily" are not known`,
		`{` + crr +
			`, rate: 1, sources: [here]}`: `source "here" is not an IPv4 or IPv6 address`,
		`{` + crr +
			`, rate: 1, duration: 5s, events: [{at: 6s, name: x}]}`: `event "x" at 6s is out of range; allowed is 0 to the window's length, which is 5s`,
		`{` + crr + `, rate: 1, events: [{at: 1s}]}`: "an event at 1s has no name",
		`{` + crr +
			`, rate: 1, events: [{at: 1s, name: x, kind: gone}]}`: `kind "gone" is not known; allowed are added, removed`,
		`{` + crr +
			`, rate: 1, events: [{at: 1s, name: x, endpoint: "a b"}]}`: `event "x": endpoint: an identity holds printable ASCII`,
		`{mode: idle, targets: ["tcp://127.0.0.1:1"], rate: 5}`:                           "mode idle has no rate",
		`{mode: idle, targets: ["tcp://127.0.0.1:1"], interval: -5s}`:                     "interval -5s is out of range",
		`{mode: stream, targets: ["tcp://127.0.0.1:1"], direction: both}`:                 `direction "both" does not fit mode stream`,
		`{mode: udp-rr, targets: ["tcp://127.0.0.1:1"], rate: 1}`:                         "does not fit mode udp-rr, which needs udp://",
		`{mode: rr, targets: ["udp://127.0.0.1:1"], rate: 1}`:                             "does not fit mode rr, which needs tcp:// or sctp://",
		`{mode: rr, targets: ["tcp://127.0.0.1:1"], rate: 1, connections: 1, workers: 2}`: "connections 1 are out of range; allowed is 2 (the number of workers)",
		`{mode: crr, targets: ["tcp://127.0.0.1:1"], rate: "5:1s", duration: 1s}`:         "phases of the rate are given beside",
		`{mode: ` + "ping" +
			`, targets: ["tcp://127.0.0.1:1"], rate: 1}`: `mode "ping" is not known; allowed are connect, crr`,
		`{mode: crr, targets: ["http://127.0.0.1:1"], rate: 1}`: `scheme "http" is not known`,
	} {
		l, err := load(text)
		if err == nil {
			_, _, err = l.Config()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want a sentence with %q", text, err, want)
		}
	}
}

func TestFieldsOfTheWrongFormAreNamed(t *testing.T) {
	for text, want := range map[string]string{
		`{rates: 1}`:             `unknown field "rates"`,
		`{rate: fast}`:           `"fast" is not a number of requests per second, nor phases`,
		`{rate: "1:x"}`:          `"x" is not a length of time`,
		`{rate: "1..2"}`:         `has no length`,
		`{duration: 10}`:         `10 is not a length of time, such as "10s"`,
		`{duration: soon}`:       `"soon" is not a length of time, such as "10s"`,
		`{events: [{when: 1s}]}`: `unknown field`,
	} {
		if _, err := load(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", text, err, want)
		}
	}
}

func TestALoadComesBackAsItWasWritten(t *testing.T) {
	want := Load{
		Mode: "crr", Targets: []string{"tcp://127.0.0.1:1"}, Duration: Duration(90 * time.Second),
		Rate:   Rate{Phases: []schedule.Phase{{From: 1, To: 2, Length: time.Second}, {From: 2, To: 2, Length: time.Minute}}},
		Events: []Event{{At: Duration(time.Second), Name: "x", Command: "true"}}, Weights: map[string]float64{"web": 2},
	}
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Load
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s\n%s", b, d)
	}
}

// FuzzLoad: a load that is taken is written and read again as it is, and makes the same measurement.
func FuzzLoad(f *testing.F) {
	for _, text := range []string{
		`{mode: crr, targets: ["tcp://127.0.0.1:1"], rate: 100}`, `{rate: "1..2:1s", duration: 1m30s}`,
		`{rate: [], targets: [null]}`, `{rate: "", timeout: ""}`,
		`{rate: -1}`, `{rate: .nan}`, `{rate: 1e400}`, `{duration: 1}`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		l, err := load(text)
		if err != nil || l.Rate.PerSecond != l.Rate.PerSecond {
			return
		}
		written, err := json.Marshal(l)
		if err != nil {
			t.Fatalf("%q cannot be written: %v", text, err)
		}
		var again Load
		if err := json.Unmarshal(written, &again); err != nil {
			t.Fatalf("%q became %s: %v", text, written, err)
		}
		rewritten, err := json.Marshal(again)
		if err != nil || string(rewritten) != string(written) {
			t.Errorf("%s became %s, %v", written, rewritten, err)
		}
		_, _, first := l.Config()
		_, _, second := again.Config()
		if (first == nil) != (second == nil) {
			t.Errorf("%q: %v, and read again: %v", text, first, second)
		}
	})
}
