package scenario

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/report"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/spec"
)

func none(string) (string, bool) { return "", false }

const minimal = `
name: two
load: {mode: crr, rate: 10, count: 1, targets: ["tcp://127.0.0.1:1"]}
`

func parse(t *testing.T, text string) *Scenario {
	t.Helper()
	s, err := Parse(text, none)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTheLibraryIsWhole(t *testing.T) {
	want := []string{
		"cps", "drain", "fairness", "idle-connections", "latency-at-rate", "proxy-restart", "rolling-update", "scale-10k",
		"stickiness", "takeover", "udp-dns",
	}
	if d := cmp.Diff(want, Names()); d != "" {
		t.Error(d)
	}
	values := map[string]string{
		"TARGET": "tcp://127.0.0.1:80", "ENDPOINT": "tcp://127.0.0.1:81", "SOURCES": "127.0.0.2,127.0.0.3", "NEW": "web-2",
		"OLD": "web-1",
	}
	for _, name := range Names() {
		text, err := Library(name)
		if err != nil {
			t.Fatal(err)
		}
		if name == "udp-dns" {
			values["TARGET"] = "udp://127.0.0.1:53"
		} else {
			values["TARGET"] = "tcp://127.0.0.1:80"
		}
		s, err := Parse(text, func(name string) (string, bool) {
			if v, ok := values[name]; ok {
				return v, true
			}
			return "true", slices.Contains([]string{"ADD", "REMOVE", "KILL", "START", "FEW", "MANY"}, name)
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if s.Name != name || s.Description == "" {
			t.Errorf("%s calls itself %q, description %q", name, s.Name, s.Description)
		}
	}
	var b bytes.Buffer
	if err := WriteLibrary(&b); err != nil || !strings.Contains(b.String(), "needs TARGET, NEW, ADD, OLD, REMOVE") {
		t.Errorf("%v\n%s", err, &b)
	}
	if _, err := Library("nothing"); err == nil || !strings.Contains(err.Error(), "it has cps, drain") {
		t.Error(err)
	}
}

func TestWrongScenariosAreNamed(t *testing.T) {
	for text, want := range map[string]string{
		minimal + "repetition: 3": `unknown field "repetition"`,
		"name: x\nload: {mode: crr, rate: 1, targets: [\"tcp://127.0.0.1:1\"], durations: 5s}": `unknown field "durations"`,
		"load: {mode: crr}":                                   "name: it is empty",
		minimal + "repetitions: -1":                           "repetitions: -1 is out of range; allowed is 1 to 1000",
		minimal + "repetitions: many":                         "repetitions",
		minimal + "pause: -1s":                                "pause: -1s is out of range",
		minimal + "variants: [{load: {rate: 5}}]":             "variants[0]: name: it is empty",
		minimal + "variants: [{name: a}, {name: a}]":          `variants[1]: name: there are two variants "a"`,
		minimal + "variants: [{name: a, load: {rates: 5}}]":   `variants[0]: load: unknown field "rates"`,
		minimal + "variants: [{name: a, load: {mode: ping}}]": `variants[0]: load: mode "ping" is not known`,
		"name: x\nload: {mode: crr, targets: [\"${WHERE}\"]}": "variables without a value: WHERE; give each by --set",
		"name: [": "yaml",
		"name: x\nload: {mode: crr, rate: 1, targets: [\"tcp://localhost:1\"]}": `host "localhost" is not an IPv4 or IPv6 address`,
	} {
		if _, err := Parse(text, none); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n  says %v; want %q", text, err, want)
		}
	}
}

func TestVariables(t *testing.T) {
	t.Setenv("FROM_OUTSIDE", "env")
	document, source, err := fill(`{a: "x ${X} ${Y:-default} ${Z:-} $HOME $${X}", number: "${N}", d: "${D:-7}", list: ["${FROM_OUTSIDE}"], t: "n ${N}", c: "${C}"}`,
		Variables(map[string]string{"X": "1", "N": "5", "C": `sh -c "echo 'a: b'" # \\`}))
	want := `{"a":"x 1 default  $HOME $1","c":"sh -c \"echo 'a: b'\" # \\\\","d":7,"list":["env"],"number":5,"t":"n 5"}`
	if err != nil || string(document) != want {
		t.Errorf("%v\n%s\nwant\n%s", err, document, want)
	}
	if again, err := yaml.YAMLToJSON([]byte(source)); err != nil || string(again) != want {
		t.Errorf("the YAML says something else: %v\n%s", err, source)
	}
}

func TestVariantsReplaceFieldByField(t *testing.T) {
	s := parse(t, minimal+`
variants:
- name: same
- name: other
  load: {rate: "5:1s", count: 0, targets: ["tcp://127.0.0.1:2"]}
`)
	same, other := s.Variants[0].merged, s.Variants[1].merged
	if same.Rate.PerSecond != 10 || same.Targets[0] != "tcp://127.0.0.1:1" || same.Count != 1 {
		t.Errorf("%+v", same)
	}
	if len(other.Rate.Phases) != 1 || !slices.Equal(other.Targets, []string{"tcp://127.0.0.1:2"}) || other.Mode != "crr" ||
		other.Count != 0 {
		t.Errorf("%+v", other)
	}
}

func fine(l spec.Load) *report.Report {
	p := &report.Report{
		Schema: report.Schema, Settings: report.Settings{Targets: l.Targets}, Rate: report.Rate{Window: 1, Achieved: 10},
	}
	p.Requests.Answered, p.Latency.P50, p.Latency.P99 = 1, 100, 200
	return p
}

// The order of the variants alternates, and every command has its place.
func TestRoundsAlternateAndCommandsSurroundThem(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	note := func(word string) string { return "echo " + word + " >>" + log }
	s := parse(t, minimal+`
repetitions: 2
setup: `+note("setup")+`
teardown: `+note("teardown")+`
before: `+note("before")+`
after: `+note("after")+`
variants:
- {name: a, before: `+note("before-a")+`, after: `+note("after-a")+`}
- {name: b, load: {targets: ["tcp://127.0.0.1:2"]}}
`)
	result, err := s.Run(t.Context(), "v1", func(_ context.Context, l spec.Load) (*report.Report, error) {
		f, err := os.OpenFile(log, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		_, err = f.WriteString("run " + l.Targets[0] + "\n")
		return fine(l), err
	}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	a := "before\nbefore-a\nrun tcp://127.0.0.1:1\nafter-a\nafter\n"
	b := "before\nrun tcp://127.0.0.1:2\nafter\n"
	if d := cmp.Diff("setup\n"+a+b+b+a+"teardown\n", string(got)); d != "" {
		t.Error(d)
	}
	if len(result.Variants[0].Rounds) != 2 || len(result.Variants[1].Rounds) != 2 || result.Comparison == nil ||
		result.ExitStatus() != report.ExitFine {
		t.Errorf("%+v", result)
	}

	// What was written is what compare reads: a side for each variant.
	var json, text bytes.Buffer
	if err := errors.Join(result.WriteJSON(&json), result.WriteText(&text)); err != nil {
		t.Fatal(err)
	}
	sides, err := ReadSides("file", &json)
	if err != nil || len(sides) != 2 || sides[1].Name != "b" || len(sides[1].Rounds) != 2 {
		t.Errorf("%v %+v", err, sides)
	}
	if !strings.Contains(text.String(), "== b, round 2 of 2") || !strings.Contains(text.String(), "b against a") {
		t.Errorf("%s", &text)
	}
}

func TestWhatWasBegunIsUndone(t *testing.T) {
	for name, tc := range map[string]struct {
		extra string
		run   error
		want  string
	}{
		"the run fails":   {run: errors.New("no socket"), want: "round 1 of two: no socket"},
		"before fails":    {extra: "before: echo reason; false\n", want: "round 1 of two: command before: exit status 1: reason"},
		"setup fails":     {extra: "setup: 'false'\n", want: "command setup: exit status 1"},
		"after fails too": {run: errors.New("first"), extra: "after: 'false'\n", want: "first"},
	} {
		undone := filepath.Join(t.TempDir(), "undone")
		s := parse(t, minimal+tc.extra+"teardown: touch "+undone+"\n")
		_, err := s.Run(t.Context(), "v1", func(context.Context, spec.Load) (*report.Report, error) { return nil, tc.run },
			io.Discard)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
		if _, err := os.Stat(undone); err != nil {
			t.Errorf("%s: nothing was undone", name)
		}
	}
}

func TestAnInterruptedScenarioHasWhatItHas(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := parse(t, minimal+"repetitions: 5\npause: 1h\n")
	result, err := s.Run(ctx, "v1", func(_ context.Context, l spec.Load) (*report.Report, error) {
		cancel()
		return fine(l), nil
	}, io.Discard)
	if err != nil || !result.Interrupted || len(result.Variants[0].Rounds) != 1 {
		t.Errorf("%v %+v", err, result)
	}
}

func TestFilesThatAreNoRunsAreNamed(t *testing.T) {
	for text, want := range map[string]string{
		"":                               "it is no JSON of ipvs-load",
		"hello":                          "it is no JSON of ipvs-load",
		`{"schema":"other/v1"}`:          `its schema is "other/v1"`,
		`{"schema":"` + Schema + `"}`:    "there is no run in it",
		`{"schema":"` + Schema + `"} {}`: "f:",
	} {
		if _, err := ReadSides("f", strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// FuzzParse: a scenario that is taken is read again from its own source, where all variables have their values.
func FuzzParse(f *testing.F) {
	for _, name := range Names() {
		text, err := Library(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add(minimal)
	f.Add("name: ${A:-b}\nload: {mode: crr, rate: 10, count: 1, targets: [\"tcp://127.0.0.1:1\"]}\nvariants: [{name: ${B}, load: {rate: 1:1s}}]")
	f.Add("a: &a [*a]")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse(text, func(name string) (string, bool) { return "1", len(name) == 1 })
		if err != nil {
			if err.Error() == "" {
				t.Error("an error without words")
			}
			return
		}
		if strings.Contains(s.source, "${") {
			return // a value that holds one, which is not filled twice
		}
		if again, err := Parse(s.source, none); err != nil || len(again.Variants) != len(s.Variants) ||
			again.Repetitions != s.Repetitions {
			t.Errorf("its source\n%s\nis read as %+v, %v", s.source, again, err)
		}
	})
}

// FuzzReadSides: whatever a file holds, each side has rounds, and there is no round that is none.
func FuzzReadSides(f *testing.F) {
	for _, text := range []string{
		"", "{}", `{"schema":"` + Schema + `","variants":[{"name":"a","rounds":[{}]}]}`, `{"schema":"` + report.Schema + `"}`,
		`{"schema":"` + Schema + `","variants":[{"rounds":[null]}]}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		sides, err := ReadSides("file", bytes.NewReader(data))
		if err != nil {
			if !strings.HasPrefix(err.Error(), "file: ") {
				t.Errorf("the error does not name the file: %v", err)
			}
			return
		}
		for _, side := range sides {
			if len(side.Rounds) == 0 || slices.Contains(side.Rounds, nil) {
				t.Errorf("a side without rounds: %+v", side)
			}
		}
	})
}
