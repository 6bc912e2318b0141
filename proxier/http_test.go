package proxier

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/freeze"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/inputfile"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/observe"
)

// repeated never ends.
type repeated string

func (r repeated) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = r[0]
	}
	return len(p), nil
}

// TestStatusOfSomebodyElse: what listens on the proxier's port may answer without end, or with anything; the error says
// whose answer it is.
func TestStatusOfSomebodyElse(t *testing.T) {
	const most = 1 << 20
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"without end": {func(w http.ResponseWriter, _ *http.Request) {
			io.Copy(w, io.MultiReader(strings.NewReader(`{"node": "`), repeated("x")))
		}, "is not the status of an ipvs-proxier: there are more than 1 MiB"},
		"blanks without end": {func(w http.ResponseWriter, _ *http.Request) { io.Copy(w, repeated(" ")) }, "there are more than 1 MiB"},
		"no JSON":            {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }, "is not the status of an ipvs-proxier"},
		"an error":           {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusTeapot) }, "answers 418"},
	} {
		server := httptest.NewServer(c.answer)
		address := strings.TrimPrefix(server.URL, "http://")
		s, err := fetchStatus(t.Context(), address, "", most)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), address) || s.Node != "" {
			t.Errorf("%s: %+v, %v; want %q and the address", name, s, err, c.want)
		}
		server.Close()
	}
}

// TestConfigurationsHaveABound: a file that does not end in time is named, with what is allowed; one as large as that
// is read.
func TestConfigurationsHaveABound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	text := head + "nodeName: n1\n#"
	for more, want := range map[int]error{0: nil, 1: inputfile.TooLargeError{Allowed: inputfile.MaxSmall}} {
		if err := os.WriteFile(path, []byte(text+strings.Repeat("x", inputfile.MaxSmall-len(text)+more)), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := ReadConfig(path, Default())
		if !errors.Is(err, want) || want != nil && !strings.Contains(err.Error(), path) || want == nil && c.NodeName != "n1" {
			t.Errorf("%d bytes more: node %q, %v; want %v", more, c.NodeName, err, want)
		}
	}
	if _, err := ReadConfig("/dev/zero", Default()); !errors.Is(err, inputfile.TooLargeError{
		Allowed: inputfile.MaxSmall,
	}) {
		t.Errorf("a file without an end: %v", err)
	}
}

// TestTheIndexListsWhatThereIs: / of each address names all paths that answer there, and no other one does.
func TestTheIndexListsWhatThereIs(t *testing.T) {
	m := observe.NewMetrics(nil, "v1")
	b := observe.NewBoard(
		"n1", "v1", func() (observe.ConnectionCounter, error) { return nil, errors.New("connections cannot be counted") },
		observe.Origin{Mistakes: func() []string { return nil }},
	)
	h := &observe.Health{Board: b, Answered: m.CountAnswer, Node: func() (*v1.Node, bool) { return nil, false }}
	for _, at := range httpServersOf(Config{}, h, b, m, freeze.Open("", slog.New(slog.DiscardHandler)), &mirror{}) {
		get := func(path string) (int, string) {
			answer := httptest.NewRecorder()
			at.handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
			return answer.Code, answer.Body.String()
		}
		status, text := get("/")
		lines := strings.Split(strings.TrimSpace(text), "\n")
		if status != http.StatusOK || len(lines) < 4 || lines[0] != "ipvs-proxier" {
			t.Fatalf("%s: %d %q", at.field, status, text)
		}
		for _, path := range lines[1:] {
			if path == "/metrics" { // it reads the kernel, which is not there
				continue
			}
			if status, _ := get(path); status == http.StatusNotFound {
				t.Errorf("%s: there is no %s", at.field, path)
			}
		}
		if status, _ := get("/none"); status != http.StatusNotFound {
			t.Errorf("%s: /none is answered with %d", at.field, status)
		}
	}
}

// TestNobodyAnswersStatus: the error says what to look at.
func TestNobodyAnswersStatus(t *testing.T) {
	server := httptest.NewServer(nil)
	server.Close()
	if _, err := FetchStatus(t.Context(), strings.TrimPrefix(server.URL, "http://"), ""); err == nil ||
		!strings.Contains(err.Error(), "--server") {
		t.Errorf("nobody answers: %v", err)
	}
}
