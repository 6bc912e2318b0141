package source

import (
	"fmt"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// TestSelectors: what a proxy of this kind does not serve stays with the API server, in lists and in watches.
func TestSelectors(t *testing.T) {
	meta := func(name string, label ...string) metav1.ObjectMeta {
		m := metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: map[string]string{discovery.LabelServiceName: "ours"}}
		for _, key := range label {
			m.Labels[key] = ""
		}
		return m
	}
	client := fake.NewClientset(
		&v1.Service{ObjectMeta: meta("ours")}, &v1.Service{ObjectMeta: meta("theirs", cluster.ProxyNameLabel)},
		&discovery.EndpointSlice{ObjectMeta: meta("x")},
		&discovery.EndpointSlice{ObjectMeta: meta("y", v1.IsHeadlessService)},
	)
	asked := make(chan string, 10)
	client.PrependWatchReactor("*", func(action clienttesting.Action) (bool, watch.Interface, error) {
		r := action.(clienttesting.WatchAction).GetWatchRestrictions()
		asked <- fmt.Sprintf("%s: labels %s, fields %s", action.GetResource().Resource, r.Labels, r.Fields)
		return false, nil, nil
	})
	w := NewWatcher(FromClient(client, Selection{OnlyNode: "n1"}), "n1")
	ended := make(chan struct{})
	t.Cleanup(func() { <-ended }) // after the test's context has ended
	go func() {
		defer close(ended)
		w.Run(t.Context())
	}()
	if !w.WaitForSync(t.Context()) {
		t.Fatal("not synced")
	}
	if names := w.Names(); len(names) != 1 || names[0].Name != "ours" {
		t.Errorf("Services %v, want ours alone", names)
	}
	if keys := w.store.sliceNames(); len(keys) != 1 || keys[0].Name != "x" {
		t.Errorf("slices %v, want x alone", keys)
	}
	wanted := map[string]bool{
		"services: labels !service.kubernetes.io/service-proxy-name, fields spec.clusterIP!=None": true,
		"endpointslices: labels !service.kubernetes.io/headless, fields ":                         true,
		"nodes: labels , fields metadata.name=n1":                                                 true,
	}
	for len(wanted) > 0 {
		select {
		case got := <-asked:
			if !wanted[got] {
				t.Fatalf("watched %q, want one of %v", got, wanted)
			}
			delete(wanted, got)
		case <-time.After(20 * time.Second):
			t.Fatalf("nobody watches %v", wanted)
		}
	}
}
