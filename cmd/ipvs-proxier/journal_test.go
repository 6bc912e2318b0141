package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/ipvs-proxier/ipvs-proxier/internal/golden"
	"github.com/ipvs-proxier/ipvs-proxier/proxier"
)

// lastChanges is a journal with an entry of each kind.
func lastChanges(now time.Time) proxier.Journal {
	var j proxier.Journal
	must(json.Unmarshal([]byte(`{"node": "n1", "forgotten": 7, "entries": [
		{"services": 1000, "cause": "start", "count": 14000, "failed": 0, "compileSeconds": 0.25, "kernelSeconds": 1.5},
		{"namespace": "shop", "name": "web", "services": 1, "cause": "change", "count": 10, "failed": 0, "queueSeconds": 0.0004, "compileSeconds": 0.0002, "kernelSeconds": 0.0011, "totalSeconds": 0.0017,
		 "operations": [{"verb": "create", "kind": "real-server", "object": "tcp 10.96.0.10:80 -> 10.244.1.3:8080 weight 1"}, {"verb": "update", "kind": "real-server", "object": "tcp 10.96.0.10:80 -> 10.244.1.2:8080 weight 0"}]},
		{"services": 0, "cause": "drift", "count": 1, "failed": 0, "compileSeconds": 0.001, "kernelSeconds": 0.004,
		 "operations": [{"verb": "update", "kind": "chain", "object": "ipv4 filter IPVSP-CLIENTS"}]},
		{"namespace": "a-namespace-with-a-name", "name": "a-service-with-a-long-name", "services": 1, "cause": "retry", "count": 1, "failed": 1, "compileSeconds": 0.001, "kernelSeconds": 0.004,
		 "operations": [{"verb": "create", "kind": "real-server", "object": "tcp [fd00:10:96::10]:80 -> [fd00:10:244:1::3]:8080 weight 1", "error": "no buffer space available"}]}
	]}`), &j))
	for i := range j.Entries {
		j.Entries[i].Time = now.Add(time.Duration(i-len(j.Entries)) * time.Hour)
	}
	return j
}

// TestJournalTable: the table fits on 80 columns.
func TestJournalTable(t *testing.T) {
	var out bytes.Buffer
	journalTable(plain(&out), lastChanges(time.Unix(1e9, 0)))
	for line := range strings.Lines(out.String()) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > plainWidth {
			t.Errorf("a line of %d columns:\n%s", n, line)
		}
	}
	golden.Compare(t, "testdata/journal.txt", out.String())
}

// TestJournalShowsWhatIsAskedFor, and reports wrong use before it sends a request.
func TestJournalShowsWhatIsAskedFor(t *testing.T) {
	asked := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.String()
		_ = json.NewEncoder(w).Encode(lastChanges(time.Now()))
	}))
	defer server.Close()
	for line, want := range map[string]string{
		"": "start change drift retry", "--cause drift": "drift", "-n shop": "change", "--failed": "retry",
		"--since 150m": "drift retry", "shop/web": "start change drift retry",
	} {
		out, _, err := execute(t, append([]string{"journal", "-o", "json", "--server", server.URL},
			strings.Fields(line)...)...)
		if err != nil {
			t.Fatal(err)
		}
		var j proxier.Journal
		if err := json.Unmarshal([]byte(out), &j); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range j.Entries {
			got = append(got, e.Cause)
		}
		if strings.Join(got, " ") != want || !strings.HasPrefix(asked, "/journal?service=") ||
			line == "shop/web" && !strings.HasSuffix(asked, "=shop/web") {
			t.Errorf("journal %s asks %s and shows %q, want %q", line, asked, got, want)
		}
	}
	if out, _, err := execute(t, "journal", "--server", server.URL, "--cause", "timer"); err != nil ||
		!strings.Contains(out, "nothing that was asked for") {
		t.Errorf("with nothing to show: %v\n%s", err, out)
	}
	asked = ""
	for line, want := range map[string]string{
		"--cause drft": "allowed are start, drift", "--since -1s": "--since", "web": "did you mean default/web?",
		"a/b c/d": "one NAMESPACE/NAME", "-o yaml": "allowed are table, json",
		"--bundle x --server y:1": "--server has no meaning", "--server https://x:1": "without TLS",
	} {
		if _, _, err := execute(t, append([]string{
			"journal",
		}, strings.Fields(line)...)...); !errors.As(err, new(usageError)) || !strings.Contains(err.Error(), want) {
			t.Errorf("journal %s: %v, want wrong use and %q", line, err, want)
		}
	}
	if asked != "" {
		t.Errorf("the daemon was asked: %s", asked)
	}
	server.Close()
	if _, _, err := execute(t, "journal", "--server", server.URL); err == nil || errors.As(err, new(usageError)) ||
		!strings.Contains(err.Error(), "goes to journal as --server") {
		t.Errorf("of a daemon that is dead: %v", err)
	}
}
