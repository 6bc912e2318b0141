package observe

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/engine"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/source"
)

// listedView is of an API of which everything that counts was listed just now.
func listedView(t *testing.T) *source.View {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", runtime.ContentTypeJSON)
		kind := map[bool]string{true: "ServiceList", false: "EndpointSliceList"}[strings.HasSuffix(r.URL.Path, "/services")]
		_, _ = w.Write([]byte(`{"kind":"` + kind + `","metadata":{"resourceVersion":"7"},"items":[]}`))
	}))
	t.Cleanup(server.Close)
	client, err := source.NewClient(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	all := client.Source(source.Selection{})
	for _, lister := range []cache.ListerWatcher{all.Services, all.Slices} {
		if _, err := cache.ToListerWithContext(lister).ListWithContext(t.Context(), metav1.ListOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	return client.View
}

func TestReadyIsWhatTheAPIWantsNow(t *testing.T) {
	unlisted, err := source.NewClient(&rest.Config{Host: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		view    *source.View
		bound   time.Duration
		report  *engine.Report
		later   time.Duration
		waits   string
		reasons []string
	}{
		"all is well":         {view: listedView(t), bound: time.Hour, report: &engine.Report{}},
		"manifests":           {report: &engine.Report{}},
		"no bound":            {view: listedView(t), report: &engine.Report{}},
		"too old":             {view: listedView(t), bound: time.Nanosecond, report: &engine.Report{}, reasons: []string{"--max-view-age"}},
		"not listed, no pass": {view: unlisted.View, bound: time.Hour, reasons: []string{"have not been listed", "first sync"}},
		"somebody undoes": {
			report: &engine.Report{
				Contested: engine.Contested{
					Objects: map[dataplane.Kind]int{dataplane.KindLink: 1}, First: "link l", Writer: "x runs",
				},
			},
			reasons: []string{"link l is undone again and again, and repaired only now and then; x runs"},
		},
		"not all Services looked at":  {report: &engine.Report{Backlog: 3}, reasons: []string{"first sync"}},
		"no foundation":               {report: &engine.Report{Unsound: true}, later: healthGrace, reasons: []string{"foundation"}},
		"no foundation for a moment":  {report: &engine.Report{Unsound: true}, later: healthGrace - 1},
		"half refused":                {report: &engine.Report{Refused: 5, MostRefused: true}, later: refusedGrace, reasons: []string{"refuses half"}},
		"rules of another proxy":      {report: &engine.Report{}, waits: "the rules of kube-proxy", reasons: []string{"the rules of kube-proxy"}},
		"a Service's own is no cause": {report: &engine.Report{Refused: 1, Pending: 1}, later: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			b := NewBoard("n1", "v1", nil, Origin{})
			b.Now = func() time.Time { return began.Add(c.later) }
			if c.report != nil {
				r := *c.report
				r.Start = began
				b.Observe(r)
			}
			counted := 0
			h := &Health{Board: b, View: c.view, MaxViewAge: c.bound, Waits: func() string { return c.waits },
				Answered: func(path string, status int) {
					if path == "readyz" {
						counted = status
					}
				}}
			answer := httptest.NewRecorder()
			h.Readyz(answer, nil)
			var body readyBody
			if err := json.Unmarshal(answer.Body.Bytes(), &body); err != nil {
				t.Fatal(err)
			}
			want := http.StatusOK
			if len(c.reasons) > 0 {
				want = http.StatusServiceUnavailable
			}
			if answer.Code != want || counted != want || body.Ready != (want == http.StatusOK) ||
				len(body.Reasons) != len(c.reasons) {
				t.Fatalf("want %d with %q, got %d, counted %d: %+v", want, c.reasons, answer.Code, counted, body)
			}
			for i, reason := range c.reasons {
				if !strings.Contains(body.Reasons[i], reason) {
					t.Errorf("want a reason with %q, got %q", reason, body.Reasons[i])
				}
			}
		})
	}
}
