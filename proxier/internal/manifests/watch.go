package manifests

import (
	"cmp"
	"slices"
	"strconv"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
)

// listerWatcher is one kind of a Directory as client-go's reflectors want it.
type listerWatcher struct {
	directory *Directory
	kind      string
}

// List implements cache.Lister.
func (l listerWatcher) List(metav1.ListOptions) (runtime.Object, error) {
	d := l.directory
	d.mu.Lock()
	defer d.mu.Unlock()
	list := &internalversion.List{ListMeta: metav1.ListMeta{ResourceVersion: strconv.FormatUint(d.versions[l.kind], 10)}}
	for key, o := range d.objects {
		if key.kind == l.kind && o.sent != nil {
			list.Items = append(list.Items, item{key, o.sent, o.version})
		}
	}
	return list, nil
}

// item is an object of a list. A large list is never in memory as a whole: the reader unpacks an item when its turn
// comes.
type item struct {
	key     objectKey
	data    []byte
	version uint64
}

// Unpack returns the object of the API, which is the caller's own.
func (i item) Unpack() runtime.Object { return unpack(i.key.kind, i.data, i.version) }

// GetObjectMeta implements metav1.ObjectMetaAccessor.
func (i item) GetObjectMeta() metav1.Object {
	return &metav1.ObjectMeta{Namespace: i.key.name.Namespace, Name: i.key.name.Name}
}

// GetObjectKind implements runtime.Object.
func (i item) GetObjectKind() schema.ObjectKind { return schema.EmptyObjectKind }

// DeepCopyObject implements runtime.Object. Nothing in it is ever changed.
func (i item) DeepCopyObject() runtime.Object { return i }

// IsWatchListSemanticsUnSupported makes reflectors list before they watch.
func (l listerWatcher) IsWatchListSemanticsUnSupported() bool { return true }

// Watch implements cache.Watcher. It begins with what has changed since the version, such as between a list and its
// watch. Of what went nothing is kept: when something did since then the answer is "expired", upon which a reflector
// lists anew after a second or so.
func (l listerWatcher) Watch(o metav1.ListOptions) (watch.Interface, error) {
	d := l.directory
	d.mu.Lock()
	defer d.mu.Unlock()
	since, err := strconv.ParseUint(o.ResourceVersion, 10, 64)
	if err != nil || since < d.deleted[l.kind] || since > d.versions[l.kind] {
		return nil, apierrors.NewResourceExpired("the directory has changed meanwhile")
	}
	w := &watcher{
		directory: d, kind: l.kind, results: make(chan watch.Event),
		wake: make(chan struct{}, 1), stopped: make(chan struct{}),
	}
	for _, key := range d.since(l.kind, since) {
		w.put(d.objects[key].event(watch.Added, key))
	}
	d.watchers[w] = struct{}{}
	go w.run()
	return w, nil
}

// since returns the objects of that kind that are newer than the version, in the order of their changes.
func (d *Directory) since(kind string, version uint64) (newer []objectKey) {
	if version == d.versions[kind] {
		return nil
	}
	for key, o := range d.objects {
		if key.kind == kind && o.sent != nil && o.version > version {
			newer = append(newer, key)
		}
	}
	slices.SortFunc(newer, func(a, b objectKey) int { return cmp.Compare(d.objects[a].version, d.objects[b].version) })
	return newer
}

// watcher hands events on, in order, at the reader's pace.
type watcher struct {
	directory *Directory
	kind      string
	results   chan watch.Event
	wake      chan struct{}
	stopped   chan struct{}
	stop      sync.Once

	mu      sync.Mutex
	pending []watch.Event
}

// ResultChan implements watch.Interface.
func (w *watcher) ResultChan() <-chan watch.Event { return w.results }

// Stop implements watch.Interface.
func (w *watcher) Stop() {
	w.stop.Do(func() {
		w.directory.mu.Lock()
		delete(w.directory.watchers, w)
		w.directory.mu.Unlock()
		close(w.stopped)
	})
}

func (w *watcher) put(event watch.Event) {
	w.mu.Lock()
	w.pending = append(w.pending, event)
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *watcher) run() {
	defer close(w.results)
	for {
		select {
		case <-w.stopped:
			return
		case <-w.wake:
		}
		w.mu.Lock()
		events := w.pending
		w.pending = nil
		w.mu.Unlock()
		for _, event := range events {
			select {
			case <-w.stopped:
				return
			case w.results <- event:
			}
		}
	}
}
