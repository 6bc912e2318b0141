package source

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// TestDataThatIsOlderIsListedAgain: an API server whose data has not reached the version that was seen last says
// nothing about what is there instead. A reflector lists it again when its watch begins anew. It lists nothing again
// when the data has not gone back.
func TestDataThatIsOlderIsListedAgain(t *testing.T) {
	for _, c := range []struct {
		name    string
		version int
		want    int
	}{
		{"older", 50, 1},
		{"the same", 100, 5},
		{"newer", 150, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			var restored atomic.Bool
			began := make(chan struct{}, 100)
			cut := make(chan struct{})
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				list := serviceList(5)
				list.ResourceVersion = "100"
				if restored.Load() {
					list = serviceList(1)
					list.ResourceVersion = strconv.Itoa(c.version)
				}
				w.Header().Set("Content-Type", runtime.ContentTypeProtobuf)
				if r.URL.Query().Get("watch") == "" {
					_, _ = w.Write(written(t, list, runtime.ContentTypeProtobuf))
					return
				}
				w.Header().Set("Content-Type", runtime.ContentTypeJSON+";stream=watch")
				if !restored.Load() {
					// A reflector lists again after a short watch that says nothing.
					_, _ = io.WriteString(w, `{"type":"BOOKMARK","object":{"kind":"Service","apiVersion":"v1","metadata":{"resourceVersion":"100"}}}`)
				}
				w.(http.Flusher).Flush()
				began <- struct{}{}
				if restored.Load() {
					<-r.Context().Done() // silent: it has no such version, or nothing new
					return
				}
				<-cut
			}))
			t.Cleanup(server.Close)
			client, err := NewClient(&rest.Config{Host: server.URL})
			if err != nil {
				t.Fatal(err)
			}
			ctx, end := context.WithCancel(t.Context())
			store := cache.NewStore(func(o any) (string, error) { return o.(*packed).name.String(), nil })
			r := reflector("Services", client.Source(Selection{}).Services, &v1.Service{}, store)
			over := make(chan struct{})
			go func() { defer close(over); r.RunWithContext(ctx) }()
			t.Cleanup(func() { end(); <-over })
			<-began
			if n := len(store.List()); n != 5 {
				t.Fatalf("%d Services at the beginning, want 5", n)
			}
			restored.Store(true)
			close(cut)
			select {
			case <-began:
			case <-time.After(30 * time.Second):
				t.Fatal("no watch has begun anew")
			}
			if n := len(store.List()); n != c.want {
				t.Errorf("%d Services, want %d", n, c.want)
			}
		})
	}
}
