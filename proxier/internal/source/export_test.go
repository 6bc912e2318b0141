package source

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// FromClient returns what a typed client has, the fake one above all.
func FromClient(client kubernetes.Interface, choice Selection) Source {
	services, slices, nodes := client.CoreV1().Services(""), client.DiscoveryV1().EndpointSlices(""), client.CoreV1().Nodes()
	return Source{
		Services: listerWatcher(client, choice.chooseServices, services.List, services.Watch),
		Slices:   listerWatcher(client, choice.chooseSlices, slices.List, slices.Watch),
		Nodes:    listerWatcher(client, choice.chooseNodes, nodes.List, nodes.Watch),
	}
}

// listerWatcher lists and watches what choose selects. The wrapper knows which clients cannot stream a list: those of
// tests.
func listerWatcher[L runtime.Object](
	client kubernetes.Interface, choose func(*metav1.ListOptions),
	lists func(context.Context, metav1.ListOptions) (L, error),
	watches func(context.Context, metav1.ListOptions) (watch.Interface, error),
) cache.ListerWatcher {
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			choose(&o)
			return lists(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			choose(&o)
			return watches(ctx, o)
		},
	}, client)
}

// SetPatience sets how long an API server may take to begin its answer.
func (s *Servers) SetPatience(longest, silence, sign time.Duration) {
	s.patience = patience{longest, silence, sign}
}
