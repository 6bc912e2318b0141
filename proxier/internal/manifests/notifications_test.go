package manifests

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
)

// TestNotifications: what is looked at after a notification, whatever way the directory's path is written.
func TestNotifications(t *testing.T) {
	path := t.TempDir()
	d, err := Open(path+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name           string
		op             fsnotify.Op
		all, gone, one bool
	}{
		{name: "/a.yaml", op: fsnotify.Create, one: true},
		{name: "/a.yaml", op: fsnotify.Write, one: true},
		{name: "/a.yaml~", op: fsnotify.Create},
		{name: "/..data", op: fsnotify.Create, all: true},
		{name: "", op: fsnotify.Chmod, all: true},
		{name: "", op: fsnotify.Remove, all: true, gone: true},
		{name: "", op: fsnotify.Rename, all: true, gone: true},
	} {
		n := notifications{directory: d.path, files: map[string]pending{}}
		n.add(fsnotify.Event{Name: path + c.name, Op: c.op}, time.Now())
		if _, one := n.files["a.yaml"]; n.all != c.all || n.gone != c.gone || one != c.one {
			t.Errorf("%s of %q: %+v", c.op, c.name, n)
		}
	}
}

// TestWhatIsWrittenIsAwaitedAlone: a file that is written in place is read when nothing has been written to it for a
// while, however long others are written, and others do not wait for it.
func TestWhatIsWrittenIsAwaitedAlone(t *testing.T) {
	const create, write, chmod, remove = fsnotify.Create, fsnotify.Write, fsnotify.Chmod, fsnotify.Remove
	type event struct {
		at   time.Duration
		name string
		op   fsnotify.Op
	}
	const ms = time.Millisecond
	for _, c := range []struct {
		name   string
		events []event
		want   string // "file at its time", in ms
	}{
		{"renamed into place", []event{{0, "a", create}}, "a 0"},
		{"written", []event{{0, "a", write}}, "a 25"},
		{"made and written", []event{{0, "a", create}, {1 * ms, "a", write}}, "a 0, a 26"},
		{"written twice", []event{{0, "a", write}, {20 * ms, "a", write}}, "a 45"},
		{"written, then another mode", []event{{0, "a", write}, {20 * ms, "a", chmod}}, "a 25"},
		{"written, then renamed over", []event{{0, "a", write}, {20 * ms, "a", create}}, "a 20"},
		{"written, then removed", []event{{0, "a", write}, {20 * ms, "a", remove}}, "a 20"},
		{"another one beside", []event{{0, "a", write}, {10 * ms, "b", create}, {20 * ms, "a", write}}, "b 10, a 45"},
		{"another one that is written", []event{{0, "b", write}, {10 * ms, "a", write}, {20 * ms, "a", write}}, "b 25, a 45"},
		{"written without end", slices.Collect(func(yield func(event) bool) {
			for at := time.Duration(0); at <= patience+100*ms && yield(event{at, "a", write}); at += 10 * ms {
			}
		}), fmt.Sprintf("a %d, a %d", patience/ms, (patience+100*ms+quiet)/ms)},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := notifications{directory: "/d", files: map[string]pending{}}
			start := time.Now()
			var got []string
			for at := time.Duration(0); at < 2*patience; at += ms {
				for len(c.events) > 0 && c.events[0].at == at {
					n.add(fsnotify.Event{Name: "/d/" + c.events[0].name + ".yaml", Op: c.events[0].op}, start.Add(at))
					c.events = c.events[1:]
				}
				due, _ := n.take(start.Add(at))
				for _, name := range slices.Sorted(maps.Keys(due)) {
					got = append(got, fmt.Sprintf("%s %d", strings.TrimSuffix(name, ".yaml"), at/ms))
				}
			}
			if got := strings.Join(got, ", "); got != c.want {
				t.Errorf("looked at %s, want %s", got, c.want)
			}
			if len(n.files) != 0 {
				t.Errorf("still pending: %v", n.files)
			}
		})
	}
}
