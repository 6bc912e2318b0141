package source_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/yaml"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/manifests"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/source"
)

func service(name, ip string, change ...func(*v1.Service)) *v1.Service {
	s := &v1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec:       v1.ServiceSpec{ClusterIP: ip, ClusterIPs: []string{ip}, Ports: []v1.ServicePort{{Port: 80}}},
	}
	for _, f := range change {
		f(s)
	}
	return s
}

func slice(name, of string, addrs ...string) *discovery.EndpointSlice {
	s := &discovery.EndpointSlice{
		TypeMeta:    metav1.TypeMeta{APIVersion: "discovery.k8s.io/v1", Kind: "EndpointSlice"},
		ObjectMeta:  metav1.ObjectMeta{Namespace: "default", Name: name, Labels: map[string]string{discovery.LabelServiceName: of}},
		AddressType: discovery.AddressTypeIPv4,
		Endpoints:   []discovery.Endpoint{},
	}
	for _, a := range addrs {
		s.Endpoints = append(s.Endpoints, discovery.Endpoint{Addresses: []string{a}})
	}
	return s
}

// store is where a test puts objects, and a source watches them.
type store interface {
	put(runtime.Object)
	remove(runtime.Object)
	source() source.Source
	// watched waits until changes arrive.
	watched()
}

// apiStore is the fake API.
type apiStore struct {
	t        *testing.T
	client   *fake.Clientset
	watching chan struct{}
}

func newAPI(t *testing.T) apiStore {
	a := apiStore{t, fake.NewClientset(), make(chan struct{}, 100)}
	// The fake forgets what happens between a list and its watch: it has to be known when the watch is there.
	a.client.PrependWatchReactor("*", func(action clienttesting.Action) (bool, watch.Interface, error) {
		w, err := a.client.Tracker().Watch(action.GetResource(), action.GetNamespace())
		a.watching <- struct{}{}
		return true, w, err
	})
	return a
}

func (a apiStore) source() source.Source { return source.FromClient(a.client, source.Selection{}) }

func (a apiStore) watched() {
	for range 3 { // Services, slices and Nodes
		select {
		case <-a.watching:
		case <-time.After(20 * time.Second):
			a.t.Fatal("nobody watches")
		}
	}
}

func (a apiStore) put(o runtime.Object) {
	a.t.Helper()
	ctx := a.t.Context()
	var err error
	switch o := o.DeepCopyObject().(type) {
	case *v1.Service:
		if _, err = a.client.CoreV1().Services(o.Namespace).Update(ctx, o, metav1.UpdateOptions{}); err != nil {
			_, err = a.client.CoreV1().Services(o.Namespace).Create(ctx, o, metav1.CreateOptions{})
		}
	case *v1.Node:
		if _, err = a.client.CoreV1().Nodes().Update(ctx, o, metav1.UpdateOptions{}); err != nil {
			_, err = a.client.CoreV1().Nodes().Create(ctx, o, metav1.CreateOptions{})
		}
	case *discovery.EndpointSlice:
		if _, err = a.client.DiscoveryV1().EndpointSlices(o.Namespace).Update(ctx, o, metav1.UpdateOptions{}); err != nil {
			_, err = a.client.DiscoveryV1().EndpointSlices(o.Namespace).Create(ctx, o, metav1.CreateOptions{})
		}
	}
	if err != nil {
		a.t.Fatal(err)
	}
}

func (a apiStore) remove(o runtime.Object) {
	a.t.Helper()
	var err error
	switch o := o.(type) {
	case *v1.Service:
		err = a.client.CoreV1().Services(o.Namespace).Delete(a.t.Context(), o.Name, metav1.DeleteOptions{})
	case *v1.Node:
		err = a.client.CoreV1().Nodes().Delete(a.t.Context(), o.Name, metav1.DeleteOptions{})
	case *discovery.EndpointSlice:
		err = a.client.DiscoveryV1().EndpointSlices(o.Namespace).Delete(a.t.Context(), o.Name, metav1.DeleteOptions{})
	}
	if err != nil {
		a.t.Fatal(err)
	}
}

// fileStore is a directory of manifests, a file for each object.
type fileStore struct {
	t   *testing.T
	dir string
}

func (f fileStore) path(o runtime.Object) string {
	return filepath.Join(f.dir, fmt.Sprintf("%T-%s.yaml", o, o.(metav1.Object).GetName()))
}

func (f fileStore) put(o runtime.Object) {
	f.t.Helper()
	text, err := yaml.Marshal(o)
	if err == nil {
		err = os.WriteFile(f.path(o)+".new", text, 0o644)
	}
	if err == nil {
		err = os.Rename(f.path(o)+".new", f.path(o))
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f fileStore) remove(o runtime.Object) {
	f.t.Helper()
	if err := os.Remove(f.path(o)); err != nil {
		f.t.Fatal(err)
	}
}

func (f fileStore) watched() {}

func (f fileStore) source() source.Source {
	d, err := manifests.Open(f.dir, func(file, mistake string) {
		if mistake != "" {
			f.t.Errorf("%s: %s", file, mistake)
		}
	})
	if err != nil {
		f.t.Fatal(err)
	}
	go d.Run(f.t.Context())
	return source.Source{Services: d.Services(), Slices: d.Slices(), Nodes: d.Nodes()}
}

// world is a watcher as an engine sees it: what is dirty is looked up, and remembered until it is dirty again.
type world struct {
	*source.Watcher
	t     *testing.T
	seen  map[cluster.Name]string
	dirty map[cluster.Name]bool
}

// await takes what is dirty until the world looks as it should.
func (w *world) await(want string) {
	w.t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		for _, change := range w.Take() {
			name := change.Name
			w.dirty[name] = true
			if s := w.Service(name); s == nil {
				delete(w.seen, name)
			} else {
				w.seen[name] = w.describe(name, s)
			}
		}
		var all []string
		for _, name := range slices.SortedFunc(maps.Keys(w.seen), cluster.Name.Compare) {
			all = append(all, w.seen[name])
		}
		got := strings.Join(all, "; ")
		if got == want {
			return
		}
		select {
		case <-w.Changed():
		case <-deadline:
			w.t.Fatalf("%q, want %q", got, want)
		}
	}
}

func (w *world) describe(name cluster.Name, s *v1.Service) string {
	text := name.Name + " " + s.Spec.ClusterIP
	for _, slice := range w.Slices(name) {
		text += " " + slice.Name
		for _, e := range slice.Endpoints {
			text += " " + e.Addresses[0]
		}
	}
	return text
}

// TestBothSourcesTellTheSame: the same changes, in the API and in a directory, are the same changes behind the watcher.
// Every one of them makes the Service dirty whose picture it changes.
func TestBothSourcesTellTheSame(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) store{
		"api":       func(t *testing.T) store { return newAPI(t) },
		"manifests": func(t *testing.T) store { return fileStore{t, t.TempDir()} },
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			s.put(service("a", "10.96.0.1"))
			s.put(slice("a-1", "a", "10.0.0.1"))
			watcher := source.NewWatcher(s.source(), "n1")
			go watcher.Run(t.Context())
			if !watcher.WaitForSync(t.Context()) {
				t.Fatal("not synced")
			}
			s.watched()
			w := &world{Watcher: watcher, t: t, seen: map[cluster.Name]string{}, dirty: map[cluster.Name]bool{}}
			w.await("a 10.96.0.1 a-1 10.0.0.1")
			if names := w.Names(); len(names) != 1 || names[0].Name != "a" {
				t.Errorf("names %v", names)
			}
			s.put(slice("b-1", "b", "10.0.0.2"))
			s.put(service("b", "10.96.0.2"))
			w.await("a 10.96.0.1 a-1 10.0.0.1; b 10.96.0.2 b-1 10.0.0.2")
			s.put(service("b", "10.96.0.3"))
			w.await("a 10.96.0.1 a-1 10.0.0.1; b 10.96.0.3 b-1 10.0.0.2")
			s.put(slice("a-1", "a", "10.0.0.1", "10.0.0.9"))
			s.put(slice("a-2", "a"))
			w.await("a 10.96.0.1 a-1 10.0.0.1 10.0.0.9 a-2; b 10.96.0.3 b-1 10.0.0.2")
			// A slice that changes its Service changes two.
			clear(w.dirty)
			s.put(slice("a-2", "b", "10.0.0.7"))
			w.await("a 10.96.0.1 a-1 10.0.0.1 10.0.0.9; b 10.96.0.3 a-2 10.0.0.7 b-1 10.0.0.2")
			if len(w.dirty) != 2 {
				t.Errorf("dirty %v, want a and b", w.dirty)
			}
			s.remove(slice("b-1", "b"))
			s.remove(service("a", ""))
			w.await("b 10.96.0.3 a-2 10.0.0.7")
			s.remove(service("b", ""))
			w.await("")
		})
	}
}

// TestNodes: of this Node everything counts that a proxy uses, of the others their addresses; heartbeats wake nobody.
func TestNodes(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) store{
		"api":       func(t *testing.T) store { return newAPI(t) },
		"manifests": func(t *testing.T) store { return fileStore{t, t.TempDir()} },
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			s.put(node("n1", "192.0.2.1"))
			watcher := source.NewWatcher(s.source(), "n1")
			go watcher.Run(t.Context())
			if !watcher.WaitForSync(t.Context()) || !watcher.NodesKnown() {
				t.Fatal("not synced")
			}
			s.watched()
			version := uint64(0)
			await := func(what string, is func() bool) {
				t.Helper()
				for deadline := time.After(20 * time.Second); !is() || watcher.NodesVersion() == version; {
					select {
					case <-watcher.Changed():
					case <-deadline:
						t.Fatal(what + ": not seen")
					}
				}
				version = watcher.NodesVersion()
			}
			at := func(text, want string) func() bool {
				return func() bool { return watcher.NodeAt(netip.MustParseAddr(text)) == want }
			}
			await("this node", func() bool { return watcher.Node() != nil })
			if !at("192.0.2.1", "")() {
				t.Error("this node is another one")
			}
			s.put(node("n2", "192.0.2.2", "fd00::2"))
			await("another node", at("fd00::2", "n2"))
			s.put(node("n2", "192.0.2.3"))
			await("its new address", at("192.0.2.3", "n2"))
			if !at("fd00::2", "")() || !at("192.0.2.2", "")() {
				t.Error("its old addresses are still known")
			}
			zoned := node("n1", "192.0.2.1")
			zoned.Labels = map[string]string{v1.LabelTopologyZone: "a"}
			s.put(zoned)
			await("this node's zone", func() bool { return watcher.Node().Labels[v1.LabelTopologyZone] == "a" })
			// A heartbeat and another node's label, and then a change that is seen: nothing else was.
			zoned.Annotations = map[string]string{"beat": "1"}
			s.put(zoned)
			labelled := node("n2", "192.0.2.3")
			labelled.Labels = map[string]string{"a": "b"}
			s.put(labelled)
			// A Node that lists an address takes it from no other Node that lists it too, and leaves it to those when
			// it goes.
			s.put(node("n3", "192.0.2.3", "192.0.2.3"))
			await("a second node with the address", func() bool { return true })
			if !at("192.0.2.3", "n2")() {
				t.Error("a node that lists another one's address has it now")
			}
			s.put(node("n3"))
			await("its end there", at("192.0.2.3", "n2"))
			before := version
			s.remove(node("n2"))
			await("its end", at("192.0.2.3", ""))
			if version != before+1 {
				t.Errorf("%d changes, want 1", version-before)
			}
			s.remove(node("n1"))
			await("this node's end", func() bool { return watcher.Node() == nil })
		})
	}
}

// TestOddAddressesOfNodes: an address of any type is the node's; text that is no address is nobody's, and in nobody's
// way.
func TestOddAddressesOfNodes(t *testing.T) {
	s := newAPI(t)
	odd := node("n2", "not an address", "", "192.0.2.300", "192.0.2.1/24", "::ffff:192.0.2.4")
	for kind, address := range map[v1.NodeAddressType]string{
		"": "192.0.2.2", "Odd": "192.0.2.3", v1.NodeHostName: "n2", v1.NodeExternalDNS: "n2.example",
	} {
		odd.Status.Addresses = append(odd.Status.Addresses, v1.NodeAddress{Type: kind, Address: address})
	}
	s.put(odd)
	watcher := source.NewWatcher(s.source(), "n1")
	go watcher.Run(t.Context())
	if !watcher.WaitForSync(t.Context()) {
		t.Fatal("not synced")
	}
	for text, want := range map[string]string{
		"192.0.2.2": "n2", "192.0.2.3": "n2", "192.0.2.4": "n2", "192.0.2.1": "", "0.0.0.0": "", "::": "",
	} {
		if got := watcher.NodeAt(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s is %q's, want %q", text, got, want)
		}
	}
	if got := watcher.NodeAt(netip.Addr{}); got != "" {
		t.Errorf("what is no address is %q's", got)
	}
}

// TestReadyNodes: those that are ready and may run a proxier; readiness alone wakes nobody.
func TestReadyNodes(t *testing.T) {
	api := newAPI(t)
	ready := func(n *v1.Node, status v1.ConditionStatus, system string) *v1.Node {
		n.Labels = map[string]string{v1.LabelOSStable: system}
		n.Status.Conditions = []v1.NodeCondition{
			{Type: v1.NodeMemoryPressure, Status: v1.ConditionTrue}, {Type: v1.NodeReady, Status: status},
		}
		return n
	}
	api.put(ready(node("n3"), v1.ConditionTrue, "linux"))
	api.put(ready(node("n2"), v1.ConditionTrue, "linux"))
	api.put(ready(node("n1"), v1.ConditionUnknown, "linux"))
	api.put(ready(node("w1"), v1.ConditionTrue, "windows"))
	api.put(node("new"))
	watcher := source.NewWatcher(api.source(), "n1")
	if known := watcher.ReadyNodes(); known != nil {
		t.Errorf("before the first lists: %v", known)
	}
	go watcher.Run(t.Context())
	if !watcher.WaitForSync(t.Context()) {
		t.Fatal("not synced")
	}
	api.watched()
	wants := func(want ...string) {
		t.Helper()
		if got := watcher.ReadyNodes(); !slices.Equal(got, want) {
			t.Errorf("ready %v, want %v", got, want)
		}
	}
	wants("n2", "n3")
	before := watcher.NodesVersion()
	api.put(ready(node("n2"), v1.ConditionFalse, "linux"))
	api.put(ready(node("new"), v1.ConditionTrue, "linux"))
	api.remove(node("n3")) // which is a change
	for deadline := time.After(20 * time.Second); watcher.NodesVersion() == before; {
		select {
		case <-watcher.Changed():
		case <-deadline:
			t.Fatal("the end of n3 is not seen")
		}
	}
	if n := watcher.NodesVersion() - before; n != 1 {
		t.Errorf("%d changes, want 1", n)
	}
	wants("new")
}

func node(name string, addrs ...string) *v1.Node {
	n := &v1.Node{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Node"}, ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, a := range addrs {
		n.Status.Addresses = append(n.Status.Addresses, v1.NodeAddress{Type: v1.NodeInternalIP, Address: a})
	}
	return n
}

// TestNothingIsKnownBeforeAllIsSynced: a source that cannot be listed keeps the watcher from saying that it is synced.
func TestNothingIsKnownBeforeAllIsSynced(t *testing.T) {
	api := newAPI(t)
	from := api.source()
	from.Slices = cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(context.Context, metav1.ListOptions) (runtime.Object, error) {
			return nil, errors.New("the API server is away")
		},
		WatchFuncWithContext: func(context.Context, metav1.ListOptions) (watch.Interface, error) {
			return nil, errors.New("the API server is away")
		},
	}, api.client)
	api.put(service("a", "10.96.0.1"))
	watcher := source.NewWatcher(from, "n1")
	go watcher.Run(t.Context())
	<-watcher.Changed() // the Service is there
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if watcher.WaitForSync(ctx) {
		t.Error("synced without slices")
	}
}

// TestWhatIsNotNeededIsNotKept: a cluster's worth of objects is held without their ballast.
func TestWhatIsNotNeededIsNotKept(t *testing.T) {
	api := newAPI(t)
	api.put(service("a", "10.96.0.1", func(s *v1.Service) {
		s.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}
		s.Annotations = map[string]string{
			"kubectl.kubernetes.io/last-applied-configuration": "{}", "ipvs-proxier.io/scheduler": "lc",
		}
	}))
	watcher := source.NewWatcher(api.source(), "n1")
	go watcher.Run(t.Context())
	if !watcher.WaitForSync(t.Context()) {
		t.Fatal("not synced")
	}
	s := watcher.Service(cluster.Name{Namespace: "default", Name: "a"})
	if len(s.ManagedFields) != 0 || len(s.Annotations) != 1 || s.Annotations["ipvs-proxier.io/scheduler"] != "lc" {
		t.Errorf("kept: %v %v", s.ManagedFields, s.Annotations)
	}
}

// TestAnnotationsThatAreKept: ours and those of other projects that mean something to us; the rest is not worth its
// memory.
func TestAnnotationsThatAreKept(t *testing.T) {
	written := map[string]string{
		"ipvs-proxier.io/scheduler": "lc", "kube-router.io/service.scheduler": "lc", "kube-router.io/service.local": "true",
		"kube-router.io/service.dsr":     "tunnel",
		"service.cilium.io/lb-algorithm": "maglev", "kubectl.kubernetes.io/last-applied-configuration": "{}",
	}
	client := fake.NewClientset(service("web", "10.96.0.1", func(s *v1.Service) { s.Annotations = maps.Clone(written) }))
	w := source.NewWatcher(source.FromClient(client, source.Selection{}), "n1")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go w.Run(ctx)
	if !w.WaitForSync(ctx) {
		t.Fatal("the watcher has not synced")
	}
	name := cluster.Name{Namespace: "default", Name: "web"}
	delete(written, "kubectl.kubernetes.io/last-applied-configuration")
	if got := w.Service(name).Annotations; !maps.Equal(got, written) {
		t.Errorf("kept are %v, want %v", got, written)
	}
}
