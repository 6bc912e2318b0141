package source

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// TestTheVersionThatWasJustListedIsNotAskedFor: the first watch after a list begins without another list. It does not
// where the list is old, had another version, or has had its watch.
func TestTheVersionThatWasJustListedIsNotAskedFor(t *testing.T) {
	for _, c := range []struct {
		name  string
		later time.Duration
		watch []string // versions, one after the other
		asks  int      // how many watches ask how far the API server is
	}{
		{"at once", 0, []string{"77"}, 0},
		{"in time", freshFor - 1, []string{"77"}, 0},
		{"too late", freshFor, []string{"77"}, 1},
		{"another version", 0, []string{"76"}, 1},
		{"again", 0, []string{"77", "77"}, 1},
		{"again after another", 0, []string{"76", "77"}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			lists := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", runtime.ContentTypeProtobuf)
				if r.URL.Query().Get("watch") == "" {
					lists++
					_, _ = w.Write(written(t, serviceList(3), runtime.ContentTypeProtobuf))
				}
			}))
			t.Cleanup(server.Close)
			client, err := NewClient(&rest.Config{Host: server.URL})
			if err != nil {
				t.Fatal(err)
			}
			services := client.Source(Selection{}).Services
			now := time.Now()
			services.(lister).listed.now = func() time.Time { return now }
			if _, err := cache.ToListerWithContext(services).ListWithContext(t.Context(), metav1.ListOptions{
				ResourceVersion: "0",
			}); err != nil || lists != 1 {
				t.Fatalf("%d lists, %v", lists, err)
			}
			now = now.Add(c.later)
			for _, version := range c.watch {
				w, err := cache.ToWatcherWithContext(services).WatchWithContext(t.Context(),
					metav1.ListOptions{ResourceVersion: version})
				if err != nil {
					t.Fatal(err)
				}
				w.Stop()
			}
			if lists-1 != c.asks {
				t.Errorf("%d lists for watches, want %d", lists-1, c.asks)
			}
		})
	}
}
