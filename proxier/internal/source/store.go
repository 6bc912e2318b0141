package source

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// store holds Services and EndpointSlices, packed, and which Services have changed. Two reflectors fill it; what they
// bring again unchanged, as after a lost connection, is no change.
type store struct {
	// started is when it was made: what happened before is nothing that it could have been late with.
	started time.Time
	notify  func()

	mu       sync.Mutex
	services map[cluster.Name]*service
	// of are the Services that the slices belong to, by the slices' own names.
	of    map[cluster.Name]*service
	dirty map[cluster.Name]cluster.Change
}

// service is what is known of one Service.
type service struct {
	name cluster.Name
	// data is nil where slices are there and the Service is not.
	data   []byte
	slices []endpointSlice // by name
}

type endpointSlice struct {
	name string
	data []byte
}

func newStore(notify func()) *store {
	return &store{
		started: time.Now(), notify: notify,
		services: map[cluster.Name]*service{}, of: map[cluster.Name]*service{}, dirty: map[cluster.Name]cluster.Change{},
	}
}

// kind is the half of the store that one reflector fills.
type kind struct {
	*store
	// put and drop change one object, and return the Services whose picture is another one now; names are those of all
	// objects.
	put    func(*packed) []cluster.Name
	drop   func(cluster.Name) []cluster.Name
	names  func() []cluster.Name
	synced *signal
}

var _ cache.TransformingStore = kind{}

// ofServices and ofSlices are the two halves.
func (s *store) ofServices() kind {
	return kind{s, s.putService, s.dropService, s.serviceNames, newSignal()}
}

func (s *store) ofSlices() kind { return kind{s, s.putSlice, s.dropSlice, s.sliceNames, newSignal()} }

// Transformer packs objects as they arrive, so that a list is never there as a whole.
func (k kind) Transformer() cache.TransformFunc {
	return func(o any) (any, error) { return pack(o) }
}

// Add implements cache.ReflectorStore.
func (k kind) Add(o any) error { return k.Update(o) }

// Update implements cache.ReflectorStore.
func (k kind) Update(o any) error {
	p, err := pack(o)
	if err != nil {
		return err
	}
	k.change(func() { k.mark(time.Now(), k.put(p), p.triggered) })
	return nil
}

// Delete implements cache.ReflectorStore. The time of the last change in the object belongs to an earlier change.
func (k kind) Delete(o any) error {
	p, err := pack(o)
	if err != nil {
		return err
	}
	k.change(func() { k.mark(time.Now(), k.drop(p.name), time.Time{}) })
	return nil
}

// Replace implements cache.ReflectorStore: the list is all that there is.
func (k kind) Replace(list []any, _ string) error {
	present := make(map[cluster.Name]struct{}, len(list))
	all := make([]*packed, len(list))
	for i, o := range list {
		p, err := pack(o)
		if err != nil {
			return err
		}
		all[i], present[p.name] = p, struct{}{}
	}
	now := time.Now() // where the clock is a system call, one for each object would be a great many
	k.change(func() {
		k.reserve(len(all))
		for _, p := range all {
			k.mark(now, k.put(p), p.triggered)
		}
		for _, name := range k.names() {
			if _, is := present[name]; !is {
				k.mark(now, k.drop(name), time.Time{})
			}
		}
	})
	k.synced.send()
	return nil
}

// reserve makes room for a first list.
func (s *store) reserve(n int) {
	if len(s.services) == 0 && len(s.of) == 0 && len(s.dirty) == 0 {
		s.services, s.of, s.dirty = make(map[cluster.Name]*service, n), make(map[cluster.Name]*service,
			n), make(map[cluster.Name]cluster.Change, n)
	}
}

// Resync implements cache.ReflectorStore.
func (k kind) Resync() error { return nil }

// change says when something is dirty after it.
func (s *store) change(f func()) {
	s.mu.Lock()
	f()
	dirty := len(s.dirty) > 0
	s.mu.Unlock()
	if dirty {
		s.notify()
	}
}

func (s *store) mark(now time.Time, names []cluster.Name, triggered time.Time) {
	for _, name := range names {
		change, marked := s.dirty[name]
		if !marked {
			change = cluster.Change{Name: name, Arrived: now}
		}
		if triggered.After(s.started) && len(change.Triggered) < budget.Changes &&
			!slices.ContainsFunc(change.Triggered, triggered.Equal) {
			change.Triggered = append(change.Triggered, triggered)
		}
		s.dirty[name] = change
	}
}

// at returns the place of a Service, which it makes.
func (s *store) at(name cluster.Name) *service {
	found := s.services[name]
	if found == nil {
		found = &service{name: shared(name)}
		s.services[found.name] = found
	}
	return found
}

func (s *store) putService(p *packed) []cluster.Name {
	found := s.at(p.name)
	if bytes.Equal(found.data, p.data) {
		return nil
	}
	found.data = p.data
	return []cluster.Name{found.name}
}

func (s *store) dropService(name cluster.Name) []cluster.Name {
	found := s.services[name]
	if found == nil || found.data == nil {
		return nil
	}
	found.data = nil
	s.tidy(found)
	return []cluster.Name{name}
}

// putSlice changes two Services where the slice has gone over from one to another.
func (s *store) putSlice(p *packed) (changed []cluster.Name) {
	if before, known := s.of[p.name]; known && before.name != p.of {
		changed = s.dropSlice(p.name)
	}
	if p.of == (cluster.Name{}) {
		return changed
	}
	found := s.at(p.of)
	i, present := slices.BinarySearchFunc(found.slices, p.name.Name, endpointSlice.compare)
	switch {
	case !present:
		slice := endpointSlice{name: strings.Clone(p.name.Name), data: p.data}
		found.slices = slices.Insert(found.slices, i, slice)
		s.of[cluster.Name{Namespace: found.name.Namespace, Name: slice.name}] = found
	case bytes.Equal(found.slices[i].data, p.data):
		return changed
	default:
		found.slices[i].data = p.data
	}
	return append(changed, found.name)
}

func (s *store) dropSlice(name cluster.Name) []cluster.Name {
	found, known := s.of[name]
	if !known {
		return nil
	}
	delete(s.of, name)
	found.slices = slices.DeleteFunc(found.slices, func(e endpointSlice) bool { return e.name == name.Name })
	s.tidy(found)
	return []cluster.Name{found.name}
}

func (e endpointSlice) compare(name string) int { return strings.Compare(e.name, name) }

// tidy forgets a place in which nothing is left.
func (s *store) tidy(of *service) {
	if of.data == nil && len(of.slices) == 0 {
		delete(s.services, of.name)
	}
}

func (s *store) serviceNames() (names []cluster.Name) {
	for name, found := range s.services {
		if found.data != nil {
			names = append(names, name)
		}
	}
	return names
}

func (s *store) sliceNames() []cluster.Name { return slices.Collect(maps.Keys(s.of)) }

// take returns what has changed since the last call, sorted by name.
func (s *store) take() []cluster.Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	changes := slices.SortedFunc(maps.Values(s.dirty), func(a, b cluster.Change) int { return a.Name.Compare(b.Name) })
	s.dirty = map[cluster.Name]cluster.Change{} // a map keeps the memory of what was once in it
	return changes
}

// size returns the bytes of a Service, and of its EndpointSlices.
func (s *store) size(name cluster.Name) (service, slices int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if found := s.services[name]; found != nil {
		service = len(found.data)
		for _, e := range found.slices {
			slices += len(e.data)
		}
	}
	return service, slices
}

// service returns a Service, nil where there is none. What is packed never changes, and is unpacked while others go on.
func (s *store) service(name cluster.Name) *v1.Service {
	s.mu.Lock()
	var data []byte
	if found := s.services[name]; found != nil {
		data = found.data
	}
	s.mu.Unlock()
	if data == nil {
		return nil
	}
	return unpackService(data)
}

// slices returns the EndpointSlices of a Service, by name.
func (s *store) slices(name cluster.Name) (all []*discovery.EndpointSlice) {
	var few [4][]byte
	packed := few[:0]
	s.mu.Lock()
	if found := s.services[name]; found != nil {
		for _, e := range found.slices {
			packed = append(packed, e.data)
		}
	}
	s.mu.Unlock()
	for _, data := range packed {
		all = append(all, unpackSlice(data))
	}
	return all
}
