package annotation_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/internal/golden"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/annotation"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/annotation/annotationtest"
)

// TestGenerated: what is generated from the table is what the repository holds; UPDATE_GOLDEN=1 writes it.
func TestGenerated(t *testing.T) {
	const docs, deploy, corpus = "../../../docs/annotations.md", "../../../deploy/", "testdata/corpus.json"
	// A chart has only files below its own directory.
	const policy, charts = deploy + "annotations-policy.yaml", deploy + "chart/files/annotations-policy.yaml"
	text, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	document, err := annotation.Document(string(text))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		docs: document, policy: annotation.Policy(), charts: annotation.Policy(), corpus: corpusText(t),
	} {
		golden.Compare(t, path, want)
	}
}

// corpusText is the corpus with what the parser says of it, with which a real API server's verdicts are compared (e2e,
// TestPolicy).
func corpusText(t *testing.T) string {
	t.Helper()
	var text strings.Builder
	for _, c := range annotationtest.Corpus(1, 1500) {
		line, err := json.Marshal(map[string]any{
			"object": c.Object, "key": c.Key.String(), "value": c.Value, "good": c.Good(),
		})
		if err != nil {
			t.Fatal(err)
		}
		text.Write(append(line, '\n'))
	}
	return text.String()
}

// TestTable: every key can be explained, and its example and words are read as they should be.
func TestTable(t *testing.T) {
	for _, k := range slices.Concat(annotation.Keys(annotation.Service), annotation.Keys(annotation.EndpointSlice),
		annotation.Keys(annotation.Node)) {
		if k.Summary == "" || k.Allowed == "" || k.Default == "" || len(k.Objects) == 0 ||
			!strings.HasSuffix(k.Summary, ".") {
			t.Errorf("%+v is not explained", k)
		}
		values, err := k.Parse(k.Example)
		if err != nil {
			t.Errorf("%s: the example: %v", k, err)
			continue
		}
		again, err := k.Parse(values.String())
		if err != nil || again.String() != values.String() {
			t.Errorf("%s: %q is read as %q, and that as %q, %v", k, k.Example, values, again, err)
		}
		for _, word := range k.Words {
			if _, err := k.Parse(word); err != nil && !strings.HasSuffix(word, "=") {
				t.Errorf("%s: the word %s: %v", k, word, err)
			}
		}
		if _, err := k.Parse("no such value at all"); err == nil || !strings.Contains(err.Error(), "allowed is") {
			t.Errorf("%s: %v", k, err)
		}
	}
}

// TestValues: what is written, and what it means in canonical words; "" is refused.
func TestValues(t *testing.T) {
	for _, c := range []struct{ key, text, want string }{
		{"scheduler", " Round-Robin ", "rr"}, {"scheduler", "http = WLC,dns=maglev, * = rr", "dns=mh,http=wlc,*=rr"}, {"scheduler", "80=lc", "80=lc"},
		{"scheduler", "http=", ""}, {"scheduler", "=rr", ""}, {"scheduler", "http=rr,", ""}, {"scheduler", "rr lc", ""}, {"scheduler", "*=rr,*=lc", ""}, {"scheduler", "ſh", ""},
		{"scheduler-flags", "port , fallback", "fallback,port"}, {"scheduler-flags", "none", "none"}, {"scheduler-flags", "a=port+fallback", "a=fallback+port"}, {"scheduler-flags", "none,port", ""},
		{"weight", "zone=A:3 , node = n1.example : 0,* = 1", "zone=a:3,node=n1.example:0,*=1"}, {"weight", "zone=a:3,zone=a:4", ""}, {"weight", "*=1,*=2", ""}, {"weight", "3", ""}, {"weight", "zone=a:65536", ""},
		{"slow-start", "1m30s", "1m30s"}, {"slow-start", "0", "0s"}, {"slow-start", "24h", "24h0m0s"}, {"slow-start", "24h1s", ""}, {"slow-start", "-1s", ""}, {"slow-start", "", ""}, {"slow-start", "30", ""},
		{"max-connections", "100", "100"}, {"max-connections", "100 / 80", "100/80"}, {"max-connections", "1/0", "1/0"}, {"max-connections", "100/100", ""}, {"max-connections", "0", ""}, {"max-connections", "10000000", ""},
		{"one-packet", "T", "true"}, {"one-packet", "0", "false"}, {"one-packet", "yes", ""}, {"expose", "node-port, Cluster-IP,node-port", "cluster-ip,node-port"}, {"expose", "", ""}, {"forwarding", "NAT", "nat"},
	} {
		k, _ := annotation.Lookup(annotation.Service, c.key)
		values, err := k.Parse(c.text)
		if got := values.String(); got != c.want && err == nil || (err == nil) != (c.want != "") {
			t.Errorf("%s: %q is %q, %v; want %q", c.key, c.text, got, err, c.want)
		}
	}
}

// TestCorpus: the corpus by which the admission policy is compared with the parser has plenty of both kinds for every
// key.
func TestCorpus(t *testing.T) {
	good, bad := map[string]int{}, map[string]int{}
	for _, c := range annotationtest.Corpus(1, 4000) {
		if c.Good() {
			good[c.Key.Name]++
		} else {
			bad[c.Key.Name]++
		}
	}
	for _, k := range annotation.Keys(annotation.Service) {
		if good[k.Name] < 10 || bad[k.Name] < 10 {
			t.Errorf("%s: %d good values and %d bad ones", k, good[k.Name], bad[k.Name])
		}
	}
}
