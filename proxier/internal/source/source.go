// Package source delivers Services and EndpointSlices, from the Kubernetes API or from a directory of manifests,
// through the same reflectors. It hands out keys; the engine looks up the object of a key when it needs it.
package source

import (
	"context"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// Source lists and watches what the engine needs. Its members may deliver more than is proxied.
type Source struct {
	Services, Slices, Nodes cache.ListerWatcher
}

// Watcher keeps what a source has, packed, and what of it has changed. Its methods may be called from any goroutine.
type Watcher struct {
	source   Source
	store    *store
	services kind
	slices   kind
	nodes    *nodes
	changed  chan struct{}
}

// NewWatcher returns a watcher, for the node of that name, that has not begun.
func NewWatcher(s Source, nodeName string) *Watcher {
	w := &Watcher{source: s, changed: make(chan struct{}, 1)}
	w.store = newStore(w.notify)
	w.services, w.slices, w.nodes = w.store.ofServices(), w.store.ofSlices(), newNodes(nodeName, w.notify)
	return w
}

// Run lists and watches until ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	var running sync.WaitGroup
	for _, r := range []*cache.Reflector{
		reflector("Services", w.source.Services, &v1.Service{}, w.services),
		reflector("EndpointSlices", w.source.Slices, &discovery.EndpointSlice{}, w.slices),
		reflector("Nodes", w.source.Nodes, &v1.Node{}, w.nodes),
	} {
		running.Go(func() { r.RunWithContext(ctx) })
	}
	running.Wait()
}

func reflector(name string, from cache.ListerWatcher, of any, into cache.ReflectorStore) *cache.Reflector {
	return cache.NewReflectorWithOptions(from, of, into, cache.ReflectorOptions{Name: name})
}

// nodePatience is how long a start waits for Nodes, without which everything can be served, if less well.
const nodePatience = 5 * time.Second

// WaitForSync waits until all Services and slices that the source had at the beginning are known, or ctx ends; then it
// returns false. Nodes, which the API may refuse to show, are waited for a moment.
func (w *Watcher) WaitForSync(ctx context.Context) bool {
	for _, synced := range []*signal{w.services.synced, w.slices.synced} {
		select {
		case <-synced.given:
		case <-ctx.Done():
			return false
		}
	}
	select {
	case <-w.nodes.synced.given:
	case <-time.After(nodePatience):
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// Changed delivers something after there is something to Take.
func (w *Watcher) Changed() <-chan struct{} { return w.changed }

// Take returns what changed since the last call, sorted by name.
func (w *Watcher) Take() []cluster.Change { return w.store.take() }

// Waiting returns of how many Services there are changes to Take.
func (w *Watcher) Waiting() int {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	return len(w.store.dirty)
}

// Service returns nil for one that is gone. What it returns is the caller's own.
func (w *Watcher) Service(name cluster.Name) *v1.Service { return w.store.service(name) }

// Slices returns the EndpointSlices of a Service, sorted by name; they are the caller's own.
func (w *Watcher) Slices(name cluster.Name) []*discovery.EndpointSlice { return w.store.slices(name) }

// Size returns how many bytes a Service has as it is kept, and its EndpointSlices have together.
func (w *Watcher) Size(name cluster.Name) (service, slices int) { return w.store.size(name) }

// Names returns all Services.
func (w *Watcher) Names() []cluster.Name {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	return w.store.serviceNames()
}

// notify makes Changed deliver.
func (w *Watcher) notify() {
	select {
	case w.changed <- struct{}{}:
	default: // a notification waits already
	}
}
