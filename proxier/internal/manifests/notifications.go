package manifests

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// The whole directory is read every rescan although nothing was notified: notifications can get lost. Where that takes
// long it is done less often, for a hundredth of the time at most.
const (
	rescan     = 30 * time.Second
	rescanPart = 100
)

// Run keeps the directory under watch until ctx ends.
func (d *Directory) Run(ctx context.Context) error {
	notify, err := fsnotify.NewBufferedWatcher(burst)
	if err != nil {
		return fmt.Errorf("watch manifests: %w", err)
	}
	defer notify.Close()
	tick := time.NewTimer(rescan)
	defer tick.Stop()
	watched := false
	n := notifications{directory: d.path}
	for {
		if !watched || n.gone {
			// The directory may be gone for a while; then the timer looks for it.
			watched = notify.Add(d.path) == nil
			n.all = true
		}
		if began := time.Now(); n.all {
			d.Scan()
			tick.Reset(max(rescan, rescanPart*time.Since(began)))
		} else {
			d.look(n.names)
		}
		n = notifications{directory: d.path}
		select {
		case <-ctx.Done():
			return nil
		case event := <-notify.Events:
			n.add(event)
		case <-notify.Errors: // an overflow: something happened, unknown what
			n.all = true
		case <-tick.C:
			watched = watched && slices.Contains(notify.WatchList(), d.path)
			n.all = true
		}
		for len(notify.Events) > 0 {
			n.add(<-notify.Events)
		}
		if n.writing {
			n.awaitQuiet(ctx, notify.Events)
		}
	}
}

// notifications are what the file system has reported since the last scan.
type notifications struct {
	directory string
	// names are the files to look at; all says that it is not known which, gone that the directory itself went.
	names     map[string]struct{}
	all, gone bool
	// writing says that something is being written in place.
	writing bool
}

func (n *notifications) add(event fsnotify.Event) {
	n.writing = n.writing || event.Has(fsnotify.Write)
	name := filepath.Base(event.Name)
	switch {
	case event.Name == n.directory:
		n.all = true
		n.gone = n.gone || event.Has(fsnotify.Remove|fsnotify.Rename)
	case strings.HasPrefix(name, ".."): // the link of a mounted ConfigMap, through which all files go
		n.all = true
	case counts(name):
		if n.names == nil {
			n.names = map[string]struct{}{}
		}
		n.names[name] = struct{}{}
	}
}

// burst is how many notifications may wait while a scan runs, so that the next scan answers all of them.
const burst = 4096

// A file that is written in place is half there for a while, and half a file can be a good one with less in it. It is
// read when nothing has been written for quiet, at the latest after patience. A file that is renamed into place is read
// at once.
const (
	quiet    = 25 * time.Millisecond
	patience = time.Second
)

func (n *notifications) awaitQuiet(ctx context.Context, events <-chan fsnotify.Event) {
	end := time.After(patience)
	for {
		select {
		case event := <-events:
			n.add(event)
		case <-time.After(quiet):
			return
		case <-end:
			return
		case <-ctx.Done():
			return
		}
	}
}
