package manifests

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"k8s.io/client-go/tools/cache"
)

// Directory is a directory of manifests.
type Directory struct {
	path string
	// report is called once for every new mistake, and with an empty text when a file is whole again.
	report func(file, mistake string)

	mu       sync.Mutex
	files    map[string]*file
	mistakes map[string]string // as they were reported, by file name, or "" for the directory itself
	objects  map[objectKey]*object
	// versions are the last ones, deleted those of the last deletions, by kind.
	versions, deleted map[string]uint64
	watchers          map[*watcher]struct{}
	// large are the files that are read beside the others; nil unless Run does that.
	large *largeFiles
}

// Open reads the directory for the first time. Files with mistakes are reported and left out; a directory that cannot
// be read at all is an error.
func Open(path string, report func(file, mistake string)) (*Directory, error) {
	if _, err := os.ReadDir(path); err != nil {
		return nil, fmt.Errorf("manifests: %w", err)
	}
	d := &Directory{
		path: filepath.Clean(path), report: report, // as notifications have it
		files: map[string]*file{}, mistakes: map[string]string{}, objects: map[objectKey]*object{},
		versions: map[string]uint64{}, deleted: map[string]uint64{}, watchers: map[*watcher]struct{}{},
	}
	d.Scan()
	return d, nil
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

// counts reports whether a file is a manifest by its name.
func counts(name string) bool {
	switch filepath.Ext(name) {
	case ".yaml", ".yml", ".json":
		return !strings.HasPrefix(name, ".") && !strings.HasPrefix(name, "#")
	}
	return false
}

// Services lists and watches the directory's Services.
func (d *Directory) Services() cache.ListerWatcher { return listerWatcher{d, "Service"} }

// Slices lists and watches the directory's EndpointSlices.
func (d *Directory) Slices() cache.ListerWatcher { return listerWatcher{d, "EndpointSlice"} }

// Nodes lists and watches the directory's Nodes.
func (d *Directory) Nodes() cache.ListerWatcher { return listerWatcher{d, "Node"} }
