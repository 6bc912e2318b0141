package source

import (
	"cmp"
	"slices"
	"strconv"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// edition is an object as it was written last, or deleted, at a version of the API server's data. The zero value is
// none.
type edition struct {
	name    cluster.Name // of a Node: without a namespace
	version uint64
}

// editionOf returns none where the version is no number. Kubernetes promises since 1.35 that it is one, and that later
// ones are higher (KEP-5504). That of a deleted object is the version of its deletion.
func editionOf(o metav1.Object) edition {
	version, is := versionOf(o)
	if !is {
		return edition{}
	}
	return edition{cluster.Name{Namespace: o.GetNamespace(), Name: o.GetName()}, version}
}

// versionOf returns the version of an object or a list, and whether there is one.
func versionOf(o interface{ GetResourceVersion() string }) (version uint64, is bool) {
	version, err := strconv.ParseUint(o.GetResourceVersion(), 10, 64)
	return version, err == nil && version > 0
}

// tailMost is how many objects a tail has at most. One is requested; the others replace it when it is deleted.
const tailMost = 8

// tail is what has happened last to the objects of a resource. The zero value is that of a resource without objects.
type tail struct {
	// there are the objects that were written last of those that are there, by version.
	there []edition
	// gone is the deletion after which nothing was written, none where something was.
	gone edition
}

func (t *tail) put(e edition) {
	if e.version == 0 || len(t.there) == tailMost && e.version < t.there[0].version {
		return
	}
	t.forget(e.name)
	at, _ := slices.BinarySearchFunc(t.there, e, func(a, b edition) int { return cmp.Compare(a.version, b.version) })
	t.there = slices.Insert(t.there, at, e)
	if len(t.there) > tailMost {
		t.there = slices.Delete(t.there, 0, 1)
	}
	if e.version > t.gone.version {
		t.gone = edition{}
	}
}

func (t *tail) remove(e edition) {
	t.forget(e.name)
	t.gone = e
}

func (t *tail) forget(name cluster.Name) {
	t.there = slices.DeleteFunc(t.there, func(one edition) bool { return one.name == name })
}

// past is the tail of what was seen of a resource. An API server has it, or had it, unless its data is an older copy.
// Its methods may be called from any goroutine.
type past struct {
	mu   sync.Mutex
	tail tail
	lost bool
	// until is the restoration that nobody had found when the list began on which all is based.
	until restoration
}

// list replaces all: what was listed is what there is.
func (p *past) list(listed tail, until restoration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tail, p.lost, p.until = listed, false, until
}

// hear records an event of a watch.
func (p *past) hear(e watch.Event) {
	o, is := e.Object.(metav1.Object)
	if !is || e.Type == watch.Error || e.Type == watch.Bookmark {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.Type == watch.Deleted {
		p.tail.remove(editionOf(o))
	} else {
		p.tail.put(editionOf(o))
	}
}

// last returns the object that was written last and is there, and the deletion after that; each may be none.
func (p *past) last() (there, gone edition) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.tail.there); n > 0 {
		there = p.tail.there[n-1]
	}
	return there, p.tail.gone
}

// lose says that the API server does not have what was seen. It returns the restoration that explains it.
func (p *past) lose() restoration {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lost = true
	return p.until
}

// isLost reports whether all has to be listed again, and else until which restoration it need not be.
func (p *past) isLost() (lost bool, until restoration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lost || p.until.found(), p.until
}
