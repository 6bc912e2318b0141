package source

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"sync"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/annotation"
)

// nodes are the Nodes of the cluster, of which one is this node. Heartbeats wake nobody: a change counts when something is
// different that a proxy goes by.
type nodes struct {
	name     string
	informer cache.SharedIndexInformer
	synced   cache.InformerSynced
	tell     func()

	mu sync.Mutex
	// at are the addresses of all nodes, known the names of the nodes with their addresses, ready those of nodes that may run a
	// proxier.
	at      map[netip.Addr]string
	known   map[string][]netip.Addr
	ready   map[string]struct{}
	version uint64
	// weights are the good values of the annotations of Nodes, weightsVersion another number after each change of them.
	weights        map[string]uint32
	weightsVersion uint64
}

func newNodes(source cache.ListerWatcher, name string, tell func()) (*nodes, error) {
	n := &nodes{
		name: name, informer: cache.NewSharedIndexInformer(source, &v1.Node{}, 0, nil), tell: tell,
		at: map[netip.Addr]string{}, known: map[string][]netip.Addr{}, ready: map[string]struct{}{}, weights: map[string]uint32{},
	}
	if err := n.informer.SetTransform(strip); err != nil {
		return nil, fmt.Errorf("set up informer: %w", err)
	}
	registration, err := n.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { n.put(nil, o.(*v1.Node)) },
		UpdateFunc: func(before, after any) { n.put(before.(*v1.Node), after.(*v1.Node)) },
		DeleteFunc: func(o any) {
			if gone, unseen := o.(cache.DeletedFinalStateUnknown); unseen {
				o = gone.Obj
			}
			n.drop(o.(*v1.Node))
		},
	})
	if err != nil {
		return nil, fmt.Errorf("set up informer: %w", err)
	}
	n.synced = registration.HasSynced
	return n, nil
}

func (n *nodes) put(before, after *v1.Node) {
	addrs := addressesOf(after)
	n.mu.Lock()
	delete(n.ready, after.Name)
	if runs(after) {
		n.ready[after.Name] = struct{}{}
	}
	moved := !slices.Equal(n.known[after.Name], addrs)
	if moved {
		n.forget(after.Name)
		n.known[after.Name] = addrs
		for _, addr := range addrs {
			n.at[addr] = after.Name
		}
	}
	weighed := n.weigh(after)
	changed := moved || weighed || after.Name == n.name && (before == nil || differs(before, after))
	if changed {
		n.version++
	}
	n.mu.Unlock()
	if changed {
		n.tell()
	}
}

// weigh takes note of the Node's annotation and tells whether it says something else now. A value that cannot be read leaves the
// last good one in force; the node itself tells of it.
func (n *nodes) weigh(node *v1.Node) bool {
	key, _ := annotation.Lookup(annotation.Node, annotation.Weight)
	text, written := node.Annotations[key.String()]
	before, had := n.weights[node.Name]
	values, err := key.Parse(text)
	switch {
	case !written:
		delete(n.weights, node.Name)
	case err == nil:
		n.weights[node.Name] = annotation.ParseWeight(values[annotation.AllPorts])
	}
	after, has := n.weights[node.Name]
	if had == has && before == after {
		return false
	}
	n.weightsVersion++
	return true
}

func (n *nodes) drop(gone *v1.Node) {
	n.mu.Lock()
	n.forget(gone.Name)
	if _, weighed := n.weights[gone.Name]; weighed {
		delete(n.weights, gone.Name)
		n.weightsVersion++
	}
	delete(n.ready, gone.Name)
	n.version++
	n.mu.Unlock()
	n.tell()
}

func (n *nodes) forget(name string) {
	for _, addr := range n.known[name] {
		if n.at[addr] == name {
			delete(n.at, addr)
		}
	}
	delete(n.known, name)
}

// runs tells whether a proxier may run on the node: it is ready, and no node of another system.
func runs(node *v1.Node) bool {
	if system := node.Labels[v1.LabelOSStable]; system != "" && system != string(v1.Linux) {
		return false
	}
	return slices.ContainsFunc(node.Status.Conditions, func(c v1.NodeCondition) bool { return c.Type == v1.NodeReady && c.Status == v1.ConditionTrue })
}

// differs tells whether something is different that a proxy goes by on the node itself.
func differs(a, b *v1.Node) bool {
	return !maps.Equal(a.Labels, b.Labels) || !maps.Equal(a.Annotations, b.Annotations) || !slices.Equal(a.Spec.PodCIDRs, b.Spec.PodCIDRs) || !reflect.DeepEqual(a.Spec.Taints, b.Spec.Taints) ||
		a.DeletionTimestamp.IsZero() != b.DeletionTimestamp.IsZero()
}

// addressesOf returns the node's addresses, those that are names left out, in their order.
func addressesOf(node *v1.Node) []netip.Addr {
	var addrs []netip.Addr
	for _, a := range node.Status.Addresses {
		if addr, err := netip.ParseAddr(a.Address); err == nil {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

// Node returns this node, nil when it is not known.
func (w *Watcher) Node() *v1.Node {
	o, found, err := w.nodes.informer.GetStore().GetByKey(w.nodes.name)
	if err != nil || !found {
		return nil
	}
	return o.(*v1.Node)
}

// NodesKnown tells whether the source has told which Nodes there are.
func (w *Watcher) NodesKnown() bool { return w.nodes.synced() }

// ReadyNodes returns the names of the nodes on which a proxier may run, sorted; none while the source has not told which Nodes
// there are. It is no part of NodesVersion.
func (w *Watcher) ReadyNodes() []string {
	if !w.NodesKnown() {
		return nil
	}
	w.nodes.mu.Lock()
	defer w.nodes.mu.Unlock()
	return slices.Sorted(maps.Keys(w.nodes.ready))
}

// NodeAt returns the name of the node that has the address, "" when none is known to.
func (w *Watcher) NodeAt(addr netip.Addr) string {
	w.nodes.mu.Lock()
	defer w.nodes.mu.Unlock()
	return w.nodes.at[addr]
}

// NodesVersion is another number after each change of this node, and of the addresses of any node.
func (w *Watcher) NodesVersion() uint64 {
	w.nodes.mu.Lock()
	defer w.nodes.mu.Unlock()
	return w.nodes.version
}

// NodeWeight returns what the annotation of a Node says about the weight of the endpoints there.
func (w *Watcher) NodeWeight(node string) (weight uint32, said bool) {
	w.nodes.mu.Lock()
	defer w.nodes.mu.Unlock()
	weight, said = w.nodes.weights[node]
	return weight, said
}

// NodeWeightsVersion is another number after each change of such an annotation.
func (w *Watcher) NodeWeightsVersion() uint64 {
	w.nodes.mu.Lock()
	defer w.nodes.mu.Unlock()
	return w.nodes.weightsVersion
}
