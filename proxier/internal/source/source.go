// Package source delivers Services and EndpointSlices, from the Kubernetes API or from a directory of manifests, through the
// same informers. It hands out keys; what a key stands for is looked up when its turn comes.
package source

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/annotation"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// Source lists and watches what the engine needs. Its members may deliver more than is proxied.
type Source struct {
	Services, Slices, Nodes cache.ListerWatcher
}

// Selection is what a client asks the API for.
type Selection struct {
	// ProxyName is the value of the label service.kubernetes.io/service-proxy-name; empty is for Services without it.
	ProxyName string
	// OnlyNode is the name of the one Node to watch; empty watches all.
	OnlyNode string
}

// FromClient returns the Kubernetes API as a source. Services of other proxies, headless Services and their slices stay with
// the API server, as kube-proxy has it.
func FromClient(client kubernetes.Interface, choice Selection) Source {
	services, slices := client.CoreV1().Services(metav1.NamespaceAll), client.DiscoveryV1().EndpointSlices(metav1.NamespaceAll)
	selectServices := func(o metav1.ListOptions) metav1.ListOptions {
		o.LabelSelector = labels.NewSelector().Add(choice.services()).String()
		o.FieldSelector = fields.OneTermNotEqualSelector("spec.clusterIP", v1.ClusterIPNone).String()
		return o
	}
	selectSlices := func(o metav1.ListOptions) metav1.ListOptions {
		o.LabelSelector = labels.NewSelector().Add(absent(v1.IsHeadlessService)).String()
		return o
	}
	nodes := client.CoreV1().Nodes()
	selectNodes := func(o metav1.ListOptions) metav1.ListOptions {
		if choice.OnlyNode != "" {
			o.FieldSelector = fields.OneTermEqualSelector("metadata.name", choice.OnlyNode).String()
		}
		return o
	}
	return Source{
		Services: listerWatcher(client, selectServices, services.List, services.Watch),
		Slices:   listerWatcher(client, selectSlices, slices.List, slices.Watch),
		Nodes:    listerWatcher(client, selectNodes, nodes.List, nodes.Watch),
	}
}

// listerWatcher lists and watches what choose selects.
func listerWatcher[L runtime.Object](
	client kubernetes.Interface, choose func(metav1.ListOptions) metav1.ListOptions,
	lists func(context.Context, metav1.ListOptions) (L, error), watches func(context.Context, metav1.ListOptions) (watch.Interface, error),
) cache.ListerWatcher {
	// The wrapper knows which clients cannot stream a list: those of tests.
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return lists(ctx, choose(o))
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return watches(ctx, choose(o))
		},
	}, client)
}

// services returns what the labels of a Service must be like.
func (s Selection) services() labels.Requirement {
	if s.ProxyName == "" {
		return absent(cluster.ProxyNameLabel)
	}
	r, err := labels.NewRequirement(cluster.ProxyNameLabel, selection.Equals, []string{s.ProxyName})
	if err != nil {
		panic("BUG: " + err.Error()) // a label value: the configuration was validated
	}
	return *r
}

func absent(label string) labels.Requirement {
	r, err := labels.NewRequirement(label, selection.DoesNotExist, nil)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return *r
}

// byService is the index of slices by the Service they belong to.
const byService = "service"

// Watcher runs the informers. Its methods may be called from any goroutine.
type Watcher struct {
	services, slices cache.SharedIndexInformer
	synced           []cache.InformerSynced
	nodes            *nodes

	// started is when it was made: what happened before is nothing that it could have been late with.
	started time.Time

	mu      sync.Mutex
	dirty   map[cluster.Name]Change
	changed chan struct{}
}

// NewWatcher returns a watcher, for the node of that name, that has not begun.
func NewWatcher(s Source, nodeName string) (*Watcher, error) {
	w := &Watcher{
		services: cache.NewSharedIndexInformer(s.Services, &v1.Service{}, 0, nil),
		slices: cache.NewSharedIndexInformer(s.Slices, &discovery.EndpointSlice{}, 0, cache.Indexers{byService: func(o any) ([]string, error) {
			if name, belongs := serviceOf(o); belongs {
				return []string{name.String()}, nil
			}
			return nil, nil
		}}),
		dirty:   map[cluster.Name]Change{},
		started: time.Now(),
		changed: make(chan struct{}, 1),
	}
	for _, informer := range []cache.SharedIndexInformer{w.services, w.slices} {
		if err := informer.SetTransform(strip); err != nil {
			return nil, fmt.Errorf("set up informer: %w", err)
		}
		registration, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(o any) { w.mark(o, triggered(o)) },
			UpdateFunc: func(before, after any) { w.mark(before, time.Time{}); w.mark(after, triggered(after)) },
			DeleteFunc: func(o any) {
				if gone, unseen := o.(cache.DeletedFinalStateUnknown); unseen {
					o = gone.Obj
				}
				w.mark(o, time.Time{}) // what the annotation says is of an earlier change
			},
		})
		if err != nil {
			return nil, fmt.Errorf("set up informer: %w", err)
		}
		w.synced = append(w.synced, registration.HasSynced)
	}
	var err error
	w.nodes, err = newNodes(s.Nodes, nodeName, w.tell)
	return w, err
}

// Run runs the informers until ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	var running sync.WaitGroup
	for _, informer := range []cache.SharedIndexInformer{w.services, w.slices, w.nodes.informer} {
		running.Go(func() { informer.RunWithContext(ctx) })
	}
	running.Wait()
}

// nodePatience is how long a start waits for Nodes, without which everything can be served, if less well.
const nodePatience = 5 * time.Second

// WaitForSync waits until all Services and slices that the source had at the beginning are known, or ctx ends; then it returns
// false. Nodes, which the API may refuse to show, are waited for a moment.
func (w *Watcher) WaitForSync(ctx context.Context) bool {
	if !cache.WaitForCacheSync(ctx.Done(), w.synced...) {
		return false
	}
	patience, cancel := context.WithTimeout(ctx, nodePatience)
	defer cancel()
	cache.WaitForCacheSync(patience.Done(), w.nodes.synced)
	return ctx.Err() == nil
}

// Changed delivers something after there is something to Take.
func (w *Watcher) Changed() <-chan struct{} { return w.changed }

// Change is a Service of which something has changed.
type Change struct {
	Name cluster.Name
	// Arrived is when the first of what has changed was seen here.
	Arrived time.Time
	// Triggered are the times, by the clock of the control plane, at which what led to changed endpoints happened: a pod became ready, a Service
	// got another selector. An EndpointSlice's annotation endpoints.kubernetes.io/last-change-trigger-time tells (KEP-752); only those after
	// the start of the Watcher are here.
	Triggered []time.Time
}

// Take returns what changed since the last call, sorted by name.
func (w *Watcher) Take() []Change {
	w.mu.Lock()
	defer w.mu.Unlock()
	changes := slices.SortedFunc(maps.Values(w.dirty), func(a, b Change) int { return a.Name.Compare(b.Name) })
	clear(w.dirty)
	return changes
}

// Service returns nil for one that is gone.
func (w *Watcher) Service(name cluster.Name) *v1.Service {
	o, found, err := w.services.GetStore().GetByKey(name.String())
	if err != nil || !found {
		return nil
	}
	return o.(*v1.Service)
}

// Slices returns the EndpointSlices of a Service, sorted by name.
func (w *Watcher) Slices(name cluster.Name) []*discovery.EndpointSlice {
	objects, err := w.slices.GetIndexer().ByIndex(byService, name.String())
	if err != nil {
		return nil // the index exists: it was made with the informer
	}
	found := make([]*discovery.EndpointSlice, 0, len(objects))
	for _, o := range objects {
		found = append(found, o.(*discovery.EndpointSlice))
	}
	slices.SortFunc(found, func(a, b *discovery.EndpointSlice) int { return strings.Compare(a.Name, b.Name) })
	return found
}

// Names returns all Services.
func (w *Watcher) Names() []cluster.Name {
	var names []cluster.Name
	for _, o := range w.services.GetStore().List() {
		names = append(names, cluster.Name{Namespace: o.(*v1.Service).Namespace, Name: o.(*v1.Service).Name})
	}
	return names
}

func (w *Watcher) mark(o any, triggered time.Time) {
	name, belongs := serviceOf(o)
	if !belongs {
		return
	}
	w.mu.Lock()
	change, marked := w.dirty[name]
	if !marked {
		change = Change{Name: name, Arrived: time.Now()}
	}
	if triggered.After(w.started) && !slices.ContainsFunc(change.Triggered, triggered.Equal) {
		change.Triggered = append(change.Triggered, triggered)
	}
	w.dirty[name] = change
	w.mu.Unlock()
	w.tell()
}

// triggered is what an EndpointSlice says of its last change, else zero.
func triggered(o any) time.Time {
	slice, is := o.(*discovery.EndpointSlice)
	if !is {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, slice.Annotations[v1.EndpointsLastChangeTriggerTime])
	if err != nil {
		return time.Time{}
	}
	return t
}

// tell makes Changed deliver.
func (w *Watcher) tell() {
	select {
	case w.changed <- struct{}{}:
	default: // somebody has been told already
	}
}

// serviceOf returns the Service that an object is, or belongs to.
func serviceOf(o any) (cluster.Name, bool) {
	switch o := o.(type) {
	case *v1.Service:
		return cluster.Name{Namespace: o.Namespace, Name: o.Name}, true
	case *discovery.EndpointSlice:
		name := o.Labels[discovery.LabelServiceName]
		_, headless := o.Labels[v1.IsHeadlessService]
		return cluster.Name{Namespace: o.Namespace, Name: name}, name != "" && !headless
	}
	return cluster.Name{}, false
}

// strip drops what is never read, so that it does not stay in memory.
func strip(o any) (any, error) {
	object, ok := o.(runtime.Object)
	if !ok {
		return o, nil
	}
	if meta, ok := object.(metav1.Object); ok {
		meta.SetManagedFields(nil)
		meta.SetOwnerReferences(nil)
		meta.SetFinalizers(nil)
		kept := map[string]string{}
		for key, value := range meta.GetAnnotations() {
			if annotation.Relevant(key) || key == v1.EndpointsLastChangeTriggerTime {
				kept[key] = value
			}
		}
		meta.SetAnnotations(kept)
	}
	switch o := o.(type) {
	case *v1.Service:
		o.Spec.Selector = nil
		o.Status.Conditions = nil
	case *v1.Node:
		var ready []v1.NodeCondition
		for _, c := range o.Status.Conditions {
			if c.Type == v1.NodeReady {
				ready = append(ready, v1.NodeCondition{Type: c.Type, Status: c.Status})
			}
		}
		o.Status = v1.NodeStatus{Addresses: o.Status.Addresses, Conditions: ready}
	}
	return o, nil
}
