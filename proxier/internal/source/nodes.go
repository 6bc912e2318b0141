package source

import (
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"sync"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/annotation"
)

// nodes are the Nodes of the cluster, of which one is this node. Heartbeats wake nobody: a change counts when something
// is different that a proxy uses. Of the other nodes it keeps no objects.
type nodes struct {
	name   string
	synced *signal
	notify func()

	mu sync.Mutex
	// own is this node, nil while it is not known.
	own *v1.Node
	// at are the addresses of all other nodes, each with the names of those that list it, sorted; known are the names
	// of the nodes with their addresses, ready those of nodes that may run a proxier.
	at      map[netip.Addr][]string
	known   map[string][]netip.Addr
	ready   map[string]struct{}
	version uint64
	// weights are the good values of the annotations of Nodes, weightsVersion another number after each change of them.
	weights        map[string]uint32
	weightsVersion uint64
}

var _ cache.TransformingStore = &nodes{}

func newNodes(name string, notify func()) *nodes {
	return &nodes{
		name: name, synced: newSignal(), notify: notify,
		at: map[netip.Addr][]string{}, known: map[string][]netip.Addr{}, ready: map[string]struct{}{}, weights: map[string]uint32{},
	}
}

// Transformer drops what is never read, before a list is there as a whole.
func (n *nodes) Transformer() cache.TransformFunc {
	return func(o any) (any, error) { return strip(unpacked(o).(*v1.Node)), nil }
}

// Add implements cache.ReflectorStore.
func (n *nodes) Add(o any) error { return n.Update(o) }

// Update implements cache.ReflectorStore.
func (n *nodes) Update(o any) error {
	n.put(strip(unpacked(o).(*v1.Node)))
	return nil
}

// Delete implements cache.ReflectorStore.
func (n *nodes) Delete(o any) error {
	n.drop(o.(*v1.Node).Name)
	return nil
}

// Replace implements cache.ReflectorStore: the list is all that there is.
func (n *nodes) Replace(list []any, _ string) error {
	present := map[string]struct{}{}
	for _, o := range list {
		node := strip(unpacked(o).(*v1.Node))
		present[node.Name] = struct{}{}
		n.put(node)
	}
	n.mu.Lock()
	all := slices.Collect(maps.Keys(n.known))
	n.mu.Unlock()
	for _, name := range all {
		if _, is := present[name]; !is {
			n.drop(name)
		}
	}
	n.synced.send()
	return nil
}

// Resync implements cache.ReflectorStore.
func (n *nodes) Resync() error { return nil }

// strip drops what is never read.
func strip(node *v1.Node) *v1.Node {
	var ready []v1.NodeCondition
	for _, c := range node.Status.Conditions {
		if c.Type == v1.NodeReady {
			ready = append(ready, v1.NodeCondition{Type: c.Type, Status: c.Status})
		}
	}
	node.ManagedFields, node.OwnerReferences, node.Finalizers = nil, nil, nil
	node.Annotations = relevant(node.Annotations)
	node.Status = v1.NodeStatus{Addresses: node.Status.Addresses, Conditions: ready}
	return node
}

func (n *nodes) put(after *v1.Node) {
	addrs := addressesOf(after)
	n.mu.Lock()
	delete(n.ready, after.Name)
	if runs(after) {
		n.ready[after.Name] = struct{}{}
	}
	moved := !slices.Equal(n.known[after.Name], addrs)
	if moved {
		n.forget(after.Name)
	}
	n.known[after.Name] = addrs
	if moved && after.Name != n.name {
		for _, addr := range addrs {
			if at, listed := slices.BinarySearch(n.at[addr], after.Name); !listed {
				n.at[addr] = slices.Insert(n.at[addr], at, after.Name)
			}
		}
	}
	weighed := n.weigh(after)
	changed := moved || weighed
	if after.Name == n.name {
		changed = changed || n.own == nil || differs(n.own, after)
		n.own = after
	}
	if changed {
		n.version++
	}
	n.mu.Unlock()
	if changed {
		n.notify()
	}
}

// weigh records the Node's weight annotation, and reports whether the weight is another one now. A value that cannot be
// read leaves the last good one in force; that node's proxier reports it.
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

func (n *nodes) drop(name string) {
	n.mu.Lock()
	n.forget(name)
	if _, weighed := n.weights[name]; weighed {
		delete(n.weights, name)
		n.weightsVersion++
	}
	delete(n.ready, name)
	if name == n.name {
		n.own = nil
	}
	n.version++
	n.mu.Unlock()
	n.notify()
}

func (n *nodes) forget(name string) {
	for _, addr := range n.known[name] {
		if at, listed := slices.BinarySearch(n.at[addr], name); listed {
			if n.at[addr] = slices.Delete(n.at[addr], at, at+1); len(n.at[addr]) == 0 {
				delete(n.at, addr)
			}
		}
	}
	delete(n.known, name)
}

// runs reports whether a proxier may run on the node: it is ready, and no node of another system.
func runs(node *v1.Node) bool {
	if system := node.Labels[v1.LabelOSStable]; system != "" && system != string(v1.Linux) {
		return false
	}
	return slices.ContainsFunc(node.Status.Conditions,
		func(c v1.NodeCondition) bool { return c.Type == v1.NodeReady && c.Status == v1.ConditionTrue })
}

// differs reports whether something is different that a proxy uses on the node itself.
func differs(a, b *v1.Node) bool {
	return !maps.Equal(a.Labels, b.Labels) || !maps.Equal(a.Annotations, b.Annotations) ||
		!slices.Equal(a.Spec.PodCIDRs, b.Spec.PodCIDRs) || !reflect.DeepEqual(a.Spec.Taints, b.Spec.Taints) ||
		a.DeletionTimestamp.IsZero() != b.DeletionTimestamp.IsZero()
}

// addressesOf returns the node's addresses, those that are names left out, in their order. The API server (1.37) takes
// any type, and text that is no address under each of them: the type does not count here, and such text is left out.
func addressesOf(node *v1.Node) []netip.Addr {
	var addrs []netip.Addr
	for _, a := range node.Status.Addresses {
		if addr, err := netip.ParseAddr(a.Address); err == nil {
			addrs = append(addrs, addr.Unmap())
		}
	}
	return addrs
}

// Node returns this node, nil when it is not known.
func (w *Watcher) Node() *v1.Node {
	w.nodes.mu.Lock()
	defer w.nodes.mu.Unlock()
	return w.nodes.own
}

// NodesKnown reports whether the Nodes have been listed.
func (w *Watcher) NodesKnown() bool { return w.nodes.synced.sent() }

// ReadyNodes returns the names of the nodes on which a proxier may run, sorted; none before the Nodes are listed. A
// change of it does not change NodesVersion.
func (w *Watcher) ReadyNodes() []string {
	if !w.NodesKnown() {
		return nil
	}
	w.nodes.mu.Lock()
	defer w.nodes.mu.Unlock()
	return slices.Sorted(maps.Keys(w.nodes.ready))
}

// NodeAt returns the name of a node, other than this one, that lists the address: the first by name; "" when none is
// known to.
func (w *Watcher) NodeAt(addr netip.Addr) string {
	w.nodes.mu.Lock()
	defer w.nodes.mu.Unlock()
	if names := w.nodes.at[addr]; len(names) > 0 {
		return names[0]
	}
	return ""
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
