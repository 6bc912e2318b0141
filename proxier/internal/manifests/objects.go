package manifests

import (
	"bytes"
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// claim is an object that stands in a file. It is kept in protobuf: as an object of the API it would take several times
// the memory.
type claim struct {
	file *file
	key  objectKey
	line int
	data []byte
}

type objectKey struct {
	kind string // "Service", "EndpointSlice" or "Node"; of what is left out, its own
	name cluster.Name
}

// String returns "Service default/web", "Node n1", or the kind alone where there is no name.
func (k objectKey) String() string {
	switch {
	case k.name.Name == "":
		return k.kind
	case k.name.Namespace == "":
		return k.kind + " " + k.name.Name
	}
	return k.kind + " " + k.name.String()
}

// object is one of which files say something.
type object struct {
	// claims are sorted by file, and in a file by their place: the first one is to be in force.
	claims []*claim
	// sent is what the watchers were sent last, with that version; nil before that.
	sent    []byte
	version uint64
}

// Value is an object of the API.
type Value interface {
	runtime.Object
	metav1.Object
	Marshal() ([]byte, error)
	Unmarshal([]byte) error
}

// empty returns an empty object of a kind that is kept.
func empty(kind string) Value {
	switch kind {
	case "Service":
		return &v1.Service{}
	case "EndpointSlice":
		return &discovery.EndpointSlice{}
	case "Node":
		return &v1.Node{}
	}
	// The reader names the kinds, not a file: an object of another kind is a mistake that it has reported before.
	panic("BUG: no objects of kind " + kind + " are kept")
}

// pack is without the version, which the directory gives.
func pack(v Value) ([]byte, error) {
	v.SetResourceVersion("")
	return v.Marshal()
}

// unpack returns an object that is the caller's own. What Marshal has written, Unmarshal reads.
func unpack(kind string, data []byte, version uint64) runtime.Object {
	v := empty(kind)
	_ = v.Unmarshal(data)
	v.SetResourceVersion(strconv.FormatUint(version, 10))
	return v
}

// changed is what has to be looked at after files were read.
type changed struct {
	files map[*file]struct{}
	keys  map[objectKey]struct{}
}

func newChange() *changed {
	return &changed{files: map[*file]struct{}{}, keys: map[objectKey]struct{}{}}
}

// claim puts claims in the place of those that the file had.
func (d *Directory) claim(f *file, claims []*claim, change *changed) {
	change.files[f] = struct{}{}
	for _, c := range f.claims {
		o := d.objects[c.key]
		o.claims = slices.DeleteFunc(o.claims, func(other *claim) bool { return other == c })
		change.keys[c.key] = struct{}{}
	}
	f.claims = claims
	for _, c := range claims {
		o := d.objects[c.key]
		if o == nil {
			o = &object{}
			d.objects[c.key] = o
		}
		at, _ := slices.BinarySearchFunc(o.claims, c, func(other, c *claim) int {
			return cmp.Or(cmp.Compare(other.file.name, c.file.name), -1) // behind those of the same file
		})
		o.claims = slices.Insert(o.claims, at, c)
		change.keys[c.key] = struct{}{}
	}
}

// publish decides which objects are in force and sends the watchers what changed. It adds to the change the files of
// which something has come into force, or is no longer in force.
func (d *Directory) publish(change *changed) {
	for key := range change.keys {
		o := d.objects[key]
		for _, c := range o.claims {
			change.files[c.file] = struct{}{}
		}
		switch {
		case len(o.claims) == 0:
			delete(d.objects, key)
			if o.sent != nil {
				d.versions[key.kind]++
				o.version, d.deleted[key.kind] = d.versions[key.kind], d.versions[key.kind]
				d.send(watch.Deleted, key, o)
			}
		case o.sent == nil:
			d.sendNewest(watch.Added, key, o)
		case !bytes.Equal(o.sent, o.claims[0].data):
			d.sendNewest(watch.Modified, key, o)
		default:
			o.sent = o.claims[0].data // so that it is there once
		}
	}
}

func (d *Directory) sendNewest(event watch.EventType, key objectKey, o *object) {
	d.versions[key.kind]++
	o.sent, o.version = o.claims[0].data, d.versions[key.kind]
	d.send(event, key, o)
}

func (d *Directory) send(event watch.EventType, key objectKey, o *object) {
	for w := range d.watchers {
		if w.kind == key.kind {
			w.put(o.event(event, key))
		}
	}
}

// event returns the event on the object for a watcher. Each call returns a copy of its own.
func (o *object) event(event watch.EventType, key objectKey) watch.Event {
	return watch.Event{Type: event, Object: unpack(key.kind, o.sent, o.version)}
}

// mistake returns what is wrong with a file, "" where nothing is. Of two files with the same object, the one whose name
// sorts first has it.
func (d *Directory) mistake(f *file) string {
	if f.wrong != "" || f.note != "" {
		return cmp.Or(f.wrong, f.note)
	}
	for _, c := range f.claims {
		if has := d.objects[c.key].claims[0]; has != c {
			return fmt.Sprintf("line %d: %s stands in %s line %d already, which stays in force",
				c.line, c.key, filepath.Join(d.path, has.file.name), has.line)
		}
	}
	return ""
}
