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
func (d *Directory) Run(ctx context.Context) error { return d.run(ctx, newLargeFiles()) }

func (d *Directory) run(ctx context.Context, large *largeFiles) error {
	notify, err := fsnotify.NewBufferedWatcher(burst)
	if err != nil {
		return fmt.Errorf("watch manifests: %w", err)
	}
	defer notify.Close()
	d.mu.Lock()
	d.large = large
	d.mu.Unlock()
	go d.readLarge(ctx, large)
	tick := time.NewTimer(rescan)
	defer tick.Stop()
	watched := false
	n := notifications{directory: d.path, files: map[string]pending{}}
	for {
		if !watched || n.gone {
			// The directory may be gone for a while; then the timer looks for it.
			watched = notify.Add(d.path) == nil
			n.all = true
		}
		began := time.Now()
		due, next := n.take(began)
		if n.all {
			d.scan(n.files)
			tick.Reset(max(rescan, rescanPart*time.Since(began)))
		} else if len(due) > 0 {
			d.look(due)
		}
		n.all, n.gone = false, false
		select {
		case <-ctx.Done():
			return nil
		case event := <-notify.Events:
			n.add(event, time.Now())
		case <-notify.Errors: // an overflow: something happened, unknown what
			n.all = true
		case <-tick.C:
			watched = watched && slices.Contains(notify.WatchList(), d.path)
			n.all = true
		case <-next:
		}
		for len(notify.Events) > 0 {
			n.add(<-notify.Events, time.Now())
		}
	}
}

// notifications are what the file system has reported and was not looked at yet.
type notifications struct {
	directory string
	files     map[string]pending
	// all says that it is not known which file changed, gone that the directory itself went.
	all, gone bool
}

// pending is a file to look at, at that time.
type pending struct {
	at time.Time
	// written is when it was first written in place; zero where it was not.
	written time.Time
}

// A file that is written in place is half there for a while, and half a file can be a good one with less in it. It is
// read when nothing has been written to it for quiet, at the latest after patience. Other files do not wait for it. A
// file that is renamed into place is read at once.
const (
	quiet    = 25 * time.Millisecond
	patience = time.Second
)

func (n *notifications) add(event fsnotify.Event, now time.Time) {
	name := filepath.Base(event.Name)
	switch {
	case event.Name == n.directory:
		n.all = true
		n.gone = n.gone || event.Has(fsnotify.Remove|fsnotify.Rename)
	case strings.HasPrefix(name, ".."): // the link of a mounted ConfigMap, through which all files go
		n.all = true
	case counts(name):
		n.files[name] = n.files[name].after(event, now)
	}
}

// after is what is pending of a file after one more event.
func (p pending) after(event fsnotify.Event, now time.Time) pending {
	switch {
	case event.Has(fsnotify.Create | fsnotify.Remove | fsnotify.Rename):
		return pending{at: now} // another file has its name, or none
	case event.Has(fsnotify.Write):
		if p.written.IsZero() {
			p.written = now
		}
		p.at = now.Add(min(quiet, p.written.Add(patience).Sub(now)))
	case p.at.IsZero():
		p.at = now
	}
	return p
}

// take returns the files whose time has come, and a channel that has a value at the time of the next one.
func (n *notifications) take(now time.Time) (due map[string]struct{}, next <-chan time.Time) {
	due = map[string]struct{}{}
	var soonest time.Time
	for name, p := range n.files {
		switch {
		case !p.at.After(now):
			due[name] = struct{}{}
			delete(n.files, name)
		case soonest.IsZero() || p.at.Before(soonest):
			soonest = p.at
		}
	}
	if soonest.IsZero() {
		return due, nil
	}
	return due, time.After(soonest.Sub(now))
}

// burst is how many notifications may wait while a scan runs, so that the next scan answers all of them.
const burst = 4096
