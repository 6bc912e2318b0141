package manifests

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// rescan is how often the directory is read although nothing was notified: notifications can get lost.
const rescan = 30 * time.Second

// Directory is a directory of manifests.
type Directory struct {
	path string
	// report is called once for every new mistake, and with an empty text when a file is whole again.
	report func(file, mistake string)

	mu       sync.Mutex
	files    map[string]*file
	mistakes map[string]string // by file name, or "" for the directory itself
	inForce  map[objectKey]runtime.Object
	// origin is the parsed object behind the one in force, so that a file that was not read again costs no comparison.
	origin   map[objectKey]runtime.Object
	versions map[string]uint64 // by kind
	watchers map[*watcher]struct{}
}

// file is the last good content of a file.
type file struct {
	modified time.Time
	size     int64
	objects  []object
}

// Open reads the directory for the first time. Files with mistakes are reported and left out; a directory that cannot be read
// at all is an error.
func Open(path string, report func(file, mistake string)) (*Directory, error) {
	if _, err := os.ReadDir(path); err != nil {
		return nil, fmt.Errorf("manifests: %w", err)
	}
	d := &Directory{
		path: path, report: report,
		files: map[string]*file{}, mistakes: map[string]string{}, inForce: map[objectKey]runtime.Object{},
		origin: map[objectKey]runtime.Object{}, versions: map[string]uint64{}, watchers: map[*watcher]struct{}{},
	}
	d.Scan()
	return d, nil
}

// Run keeps the directory under watch until ctx ends.
func (d *Directory) Run(ctx context.Context) error {
	notify, err := fsnotify.NewBufferedWatcher(burst)
	if err != nil {
		return fmt.Errorf("watch manifests: %w", err)
	}
	defer notify.Close()
	tick := time.NewTicker(rescan)
	defer tick.Stop()
	watched := false
	writing := false
	look := func(event fsnotify.Event) {
		if event.Name == d.path && event.Has(fsnotify.Remove|fsnotify.Rename) {
			watched = false
		}
		writing = writing || event.Has(fsnotify.Write)
	}
	for {
		if !watched {
			// The directory may be gone for a while; then the ticker looks for it.
			watched = notify.Add(d.path) == nil
		}
		d.Scan()
		select {
		case <-ctx.Done():
			return nil
		case event := <-notify.Events:
			look(event)
		case <-notify.Errors: // an overflow: something happened, unknown what
		case <-tick.C:
			watched = watched && slices.Contains(notify.WatchList(), d.path)
		}
		for len(notify.Events) > 0 {
			look(<-notify.Events)
		}
		if writing {
			awaitQuiet(ctx, notify.Events, look)
			writing = false
		}
	}
}

// burst is how many notifications may wait while a scan runs, so that the next scan answers all of them.
const burst = 4096

// A file that is written in place is half there for a while, and half a file can be a good one with less in it. It is read when
// nothing has been written for quiet, at the latest after patience. A file that is renamed into place is read at once.
const (
	quiet    = 25 * time.Millisecond
	patience = time.Second
)

func awaitQuiet(ctx context.Context, events <-chan fsnotify.Event, look func(fsnotify.Event)) {
	end := time.After(patience)
	for {
		select {
		case event := <-events:
			look(event)
		case <-time.After(quiet):
			return
		case <-end:
			return
		case <-ctx.Done():
			return
		}
	}
}

// Mistakes returns what is wrong now, sorted, each with its file.
func (d *Directory) Mistakes() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []string
	for name, mistake := range d.mistakes {
		all = append(all, filepath.Join(d.path, name)+": "+mistake)
	}
	slices.Sort(all)
	return all
}

// counts tells whether a file is a manifest by its name.
func counts(name string) bool {
	switch filepath.Ext(name) {
	case ".yaml", ".yml", ".json":
		return !strings.HasPrefix(name, ".") && !strings.HasPrefix(name, "#")
	}
	return false
}

// Scan reads what has changed and tells the watchers.
func (d *Directory) Scan() {
	d.mu.Lock()
	defer d.mu.Unlock()
	entries, err := os.ReadDir(d.path)
	if err != nil {
		d.note("", fmt.Sprintf("%v; the last good content of all files stays in force", err))
		return
	}
	mistakes := map[string]string{"": ""}
	present := map[string]bool{}
	for _, entry := range entries {
		name := entry.Name()
		if !counts(name) {
			continue
		}
		mistake, isFile := d.read(name)
		if isFile {
			present[name] = true
			mistakes[name] = mistake
		}
	}
	for name := range d.files {
		if !present[name] {
			delete(d.files, name)
			mistakes[name] = ""
		}
	}
	for name := range d.mistakes {
		if !present[name] {
			mistakes[name] = ""
		}
	}
	d.settle(mistakes)
	for name, mistake := range mistakes {
		d.note(name, mistake)
	}
}

// read looks at one file and returns what is wrong with it, and whether it is a file at all.
func (d *Directory) read(name string) (mistake string, isFile bool) {
	path := filepath.Join(d.path, name)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.IsDir() {
		return "", false
	}
	kept := "; it is left out"
	known := d.files[name]
	if known != nil {
		kept = "; its last good content stays in force"
	}
	if err != nil {
		return err.Error() + kept, true
	}
	if known != nil && d.mistakes[name] == "" && known.modified.Equal(info.ModTime()) && known.size == info.Size() && time.Since(known.modified) > 2*time.Second {
		return "", true
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return err.Error() + kept, true
	}
	objects, note, err := parse(content)
	if err != nil {
		return err.Error() + kept, true
	}
	if len(objects) == 0 && known != nil && len(known.objects) > 0 {
		// More likely caught between truncating and writing than meant: who means it deletes the file.
		return "the file is empty" + kept, true
	}
	d.files[name] = &file{modified: info.ModTime(), size: info.Size(), objects: objects}
	return note, true
}

// settle decides which objects are in force and tells the watchers what changed. Of two files with the same object, the one
// whose name sorts first has it.
func (d *Directory) settle(mistakes map[string]string) {
	names := make([]string, 0, len(d.files))
	for name := range d.files {
		names = append(names, name)
	}
	slices.Sort(names)
	type place struct {
		file string
		line int
	}
	first := map[objectKey]place{}
	wanted := map[objectKey]runtime.Object{}
	for _, name := range names {
		for _, o := range d.files[name].objects {
			if at, taken := first[o.key]; taken {
				if mistakes[name] == "" {
					mistakes[name] = fmt.Sprintf("line %d: %s stands in %s line %d already, which stays in force",
						o.line, o.key, filepath.Join(d.path, at.file), at.line)
				}
				continue
			}
			first[o.key] = place{name, o.line}
			wanted[o.key] = o.value
		}
	}
	for key, value := range wanted {
		before, present := d.inForce[key]
		switch {
		case !present:
			d.tell(watch.Added, key, value)
		case d.origin[key] != value && !same(before, value):
			d.tell(watch.Modified, key, value)
		}
		d.origin[key] = value
	}
	for key, value := range d.inForce {
		if _, stays := wanted[key]; !stays {
			delete(d.inForce, key)
			delete(d.origin, key)
			d.versions[key.kind]++
			d.send(watch.Deleted, key, value)
		}
	}
}

// same compares two objects but for their versions.
func same(a, b runtime.Object) bool {
	a, b = a.DeepCopyObject(), b.DeepCopyObject()
	a.(metav1.Object).SetResourceVersion("")
	b.(metav1.Object).SetResourceVersion("")
	return equalObjects(a, b)
}

func (d *Directory) tell(event watch.EventType, key objectKey, value runtime.Object) {
	d.versions[key.kind]++
	value = value.DeepCopyObject()
	value.(metav1.Object).SetResourceVersion(strconv.FormatUint(d.versions[key.kind], 10))
	d.inForce[key] = value
	d.send(event, key, value)
}

func (d *Directory) send(event watch.EventType, key objectKey, value runtime.Object) {
	for w := range d.watchers {
		if w.kind == key.kind {
			w.put(watch.Event{Type: event, Object: value.DeepCopyObject()})
		}
	}
}

// note remembers a mistake and reports it when it is new.
func (d *Directory) note(name, mistake string) {
	before := d.mistakes[name]
	if mistake == before {
		return
	}
	if mistake == "" {
		delete(d.mistakes, name)
	} else {
		d.mistakes[name] = mistake
	}
	d.report(filepath.Join(d.path, name), mistake)
}

// Services lists and watches the directory's Services.
func (d *Directory) Services() cache.ListerWatcher { return listerWatcher{d, "Service"} }

// Slices lists and watches the directory's EndpointSlices.
func (d *Directory) Slices() cache.ListerWatcher { return listerWatcher{d, "EndpointSlice"} }

// Nodes lists and watches the directory's Nodes.
func (d *Directory) Nodes() cache.ListerWatcher { return listerWatcher{d, "Node"} }

func (d *Directory) list(kind string) (runtime.Object, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	meta := metav1.ListMeta{ResourceVersion: strconv.FormatUint(d.versions[kind], 10)}
	services, endpointSlices, nodes := &v1.ServiceList{ListMeta: meta}, &discovery.EndpointSliceList{ListMeta: meta}, &v1.NodeList{ListMeta: meta}
	for _, o := range d.inForce {
		switch o := o.(type) {
		case *v1.Service:
			services.Items = append(services.Items, *o.DeepCopy())
		case *discovery.EndpointSlice:
			endpointSlices.Items = append(endpointSlices.Items, *o.DeepCopy())
		case *v1.Node:
			nodes.Items = append(nodes.Items, *o.DeepCopy())
		}
	}
	switch kind {
	case "Service":
		return services, nil
	case "EndpointSlice":
		return endpointSlices, nil
	}
	return nodes, nil
}
