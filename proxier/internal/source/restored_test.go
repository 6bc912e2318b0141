package source

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// TestWhatIsRestoredIsListedAgainOfAllResources: the copy lacks an EndpointSlice that was seen, and no Service; but a
// Service was written to it before it reached the version of the last bookmark. Whether the watch of Services has begun
// again before the EndpointSlices show that, or asks after it, the Service is listed. Each is listed once.
func TestWhatIsRestoredIsListedAgainOfAllResources(t *testing.T) {
	for _, c := range []struct {
		name          string
		servicesFirst bool
	}{{"Services begin first", true}, {"EndpointSlices begin first", false}} {
		t.Run(c.name, func(t *testing.T) {
			services, endpoints := newRevisions(t, ""), newRevisions(t, "a=2@60")
			endpoints.ofSlices = true
			may := make(chan struct{}) // Services be requested after the restart
			again := func(w http.ResponseWriter, r *http.Request) {
				if services.isAgain() {
					<-may
				}
				services.ServeHTTP(w, r)
			}
			mux := http.NewServeMux()
			mux.HandleFunc("/api/v1/services", again)
			mux.Handle("/apis/discovery.k8s.io/v1/endpointslices", endpoints)
			server := httptest.NewServer(mux)
			t.Cleanup(server.Close)
			client, err := NewClient(&rest.Config{Host: server.URL})
			if err != nil {
				t.Fatal(err)
			}
			ctx, end := context.WithCancel(t.Context())
			store, changed := newNotifyingStore()
			source := client.Source(Selection{})
			ofServices := cache.NewReflectorWithOptions(source.Services, &v1.Service{}, store.ofServices(), soon)
			ofSlices := cache.NewReflectorWithOptions(source.Slices, &discovery.EndpointSlice{}, store.ofSlices(), soon)
			over := make(chan struct{}, 2)
			for _, r := range []*cache.Reflector{ofServices, ofSlices} {
				go func() { r.RunWithContext(ctx); over <- struct{}{} }()
			}
			t.Cleanup(func() { end(); <-over; <-over })
			for _, api := range []*revisions{services, endpoints} {
				<-api.began
			}
			for ofServices.LastSyncResourceVersion() != "100" || ofSlices.LastSyncResourceVersion() != "100" {
				time.Sleep(time.Millisecond)
			}
			copied := history{copied: 50, reached: 150, then: "new=7@80"}
			services.restart(copied)
			if c.servicesFirst {
				close(may)
				<-services.began
			}
			endpoints.restart(history{copied: 50, reached: 150})
			<-endpoints.began
			if !c.servicesFirst {
				close(may)
			}
			patience := time.After(30 * time.Second)
			for store.service(cluster.Name{Namespace: namespace, Name: "new"}) == nil {
				select {
				case <-changed:
				case <-patience:
					t.Fatalf("the Service has not arrived; the requests were\n%s", strings.Join(services.asked(), "\n"))
				}
			}
			for _, api := range []*revisions{services, endpoints} {
				if lists, _ := api.count(); lists != 1 {
					t.Errorf("%d lists, want 1:\n%s", lists, strings.Join(api.asked(), "\n"))
				}
			}
		})
	}
}
