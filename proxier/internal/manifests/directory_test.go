package manifests

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
)

// serviceText is a Service whose cluster IP ends in last.
func serviceText(name string, last int) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: {name: %s}\nspec: {clusterIP: 10.96.0.%d, ports: [{port: 80}]}\n", name, last)
}

// book is a directory under test with what it reported.
type book struct {
	*testing.T
	path string
	dir  *Directory

	mu       sync.Mutex
	reported []string
}

func open(t *testing.T, files map[string]string) *book {
	t.Helper()
	b := &book{T: t, path: t.TempDir()}
	for name, text := range files {
		b.write(name, text)
	}
	var err error
	b.dir, err = Open(b.path, func(file, mistake string) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.reported = append(b.reported, filepath.Base(file)+": "+mistake)
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *book) write(name, text string) {
	b.Helper()
	if err := os.WriteFile(filepath.Join(b.path, name), []byte(text), 0o644); err != nil {
		b.Fatal(err)
	}
}

func (b *book) rename(from, to string) {
	b.Helper()
	if err := os.Rename(filepath.Join(b.path, from), filepath.Join(b.path, to)); err != nil {
		b.Fatal(err)
	}
}

func (b *book) remove(name string) {
	b.Helper()
	if err := os.Remove(filepath.Join(b.path, name)); err != nil {
		b.Fatal(err)
	}
}

// list returns what a list of that kind has, and its version.
func (b *book) list(kind string) (objects []apiruntime.Object, version string) {
	b.Helper()
	list, err := listerWatcher{b.dir, kind}.List(metav1.ListOptions{})
	if err != nil {
		b.Fatal(err)
	}
	items := list.(*internalversion.List)
	for _, i := range items.Items {
		objects = append(objects, i.(item).Unpack())
	}
	return objects, items.ResourceVersion
}

// services returns "name address" of all Services in force.
func (b *book) services() string {
	b.Helper()
	var all []string
	objects, _ := b.list("Service")
	for _, o := range objects {
		s := o.(*v1.Service)
		all = append(all, s.Name+" "+s.Spec.ClusterIP)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

func (b *book) want(services string, mistakes ...string) {
	b.Helper()
	if got := b.services(); got != services {
		b.Errorf("in force: %q, want %q", got, services)
	}
	got := b.dir.Mistakes()
	if len(got) != len(mistakes) {
		b.Errorf("mistakes %q, want %q", got, mistakes)
		return
	}
	for i, words := range mistakes {
		if !hasWords(got[i], words) {
			b.Errorf("mistake %q does not say all of %q", got[i], words)
		}
	}
}

func hasWords(text, words string) bool {
	for word := range strings.FieldsSeq(words) {
		if !strings.Contains(text, word) {
			return false
		}
	}
	return true
}

func TestMistakesKeepTheLastGoodContent(t *testing.T) {
	b := open(t, map[string]string{
		"a.yaml": serviceText("a", 1) + "---\n" + serviceText("b", 2),
		"c.json": `{"apiVersion":"v1","kind":"Service","metadata":{"name":"c"},"spec":{"clusterIP":"10.96.0.3","ports":[{"port":80}]}}`,
		"d.yaml": "kind: [",
	})
	b.want("a 10.96.0.1, b 10.96.0.2, c 10.96.0.3", "d.yaml line 1 left out")
	b.write("a.yaml", serviceText("a", 9)+"---\n"+strings.Replace(serviceText("b", 2), "clusterIP", "clusterIp", 1))
	b.dir.Scan()
	b.dir.Scan()
	b.want("a 10.96.0.1, b 10.96.0.2, c 10.96.0.3", "a.yaml line 9 clusterIp last good content", "d.yaml")
	b.write("a.yaml", "")
	b.dir.Scan()
	b.want("a 10.96.0.1, b 10.96.0.2, c 10.96.0.3", "a.yaml empty last good content", "d.yaml")
	b.write("a.yaml", serviceText("a", 9))
	b.write("d.yaml", "# nothing\n")
	b.dir.Scan()
	b.want("a 10.96.0.9, c 10.96.0.3")
	b.remove("c.json")
	b.dir.Scan()
	b.want("a 10.96.0.9")
	var kinds []string
	for _, text := range b.reported {
		kinds = append(kinds, text[:min(len(text), 9)])
	}
	slices.Sort(kinds)
	// Each new mistake once, each recovery once.
	if got := strings.Join(kinds, "|"); got != "a.yaml: |a.yaml: l|a.yaml: t|d.yaml: |d.yaml: l" {
		t.Errorf("reported: %q", b.reported)
	}
}

func TestOneObjectInTwoFiles(t *testing.T) {
	b := open(t, map[string]string{"b.yaml": serviceText("a", 2)})
	b.want("a 10.96.0.2")
	b.write("a.yaml", "\n"+serviceText("a", 1))
	b.write("c.yaml", serviceText("c", 3)+"---\n"+serviceText("a", 4))
	b.dir.Scan()
	b.want("a 10.96.0.1, c 10.96.0.3", "b.yaml line 1 default/a a.yaml line 2", "c.yaml line 6 default/a a.yaml line 2")
	b.remove("a.yaml")
	b.dir.Scan()
	b.want("a 10.96.0.2, c 10.96.0.3", "c.yaml b.yaml line 1")
	b.remove("b.yaml")
	b.dir.Scan()
	b.want("a 10.96.0.4, c 10.96.0.3")
}

// TestOneFileIsLookedAt: a notification of one file is no reason to look at the others.
func TestOneFileIsLookedAt(t *testing.T) {
	b := open(t, map[string]string{"a.yaml": serviceText("a", 1), "b.yaml": serviceText("b", 2)})
	b.write("a.yaml", serviceText("a", 3))
	b.write("b.yaml", serviceText("b", 4))
	b.dir.look(map[string]struct{}{"a.yaml": {}})
	b.want("a 10.96.0.3, b 10.96.0.2")
	b.dir.Scan()
	b.want("a 10.96.0.3, b 10.96.0.4")
	if err := os.RemoveAll(b.path); err != nil {
		t.Fatal(err)
	}
	b.dir.look(map[string]struct{}{"a.yaml": {}})
	b.want("a 10.96.0.3, b 10.96.0.4", "last good content of all files")
}

// TestFileByFileIsAsAWhole: whatever files come, change and go, to look at each alone comes to the same as to look at
// all of them from the beginning.
func TestFileByFileIsAsAWhole(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	b := open(t, nil)
	for step := range 400 {
		name := fmt.Sprintf("%c.yaml", 'a'+r.IntN(5))
		if r.IntN(4) == 0 {
			_ = os.Remove(filepath.Join(b.path, name))
		} else {
			var texts []string
			for range 1 + r.IntN(3) {
				texts = append(texts, serviceText(fmt.Sprintf("s%d", r.IntN(6)), 1+r.IntN(3)))
			}
			b.write(name, strings.Join(texts, "---\n"))
		}
		b.dir.look(map[string]struct{}{name: {}})
		whole, err := Open(b.path, func(string, string) {})
		if err != nil {
			t.Fatal(err)
		}
		want := &book{T: t, path: b.path, dir: whole}
		if got, want := b.services(), want.services(); got != want {
			t.Fatalf("step %d, %s: in force %q, want %q", step, name, got, want)
		}
		if got, want := b.dir.Mistakes(), whole.Mistakes(); !slices.Equal(got, want) {
			t.Fatalf("step %d, %s: mistakes %q, want %q", step, name, got, want)
		}
	}
}

// BenchmarkManifests says what a change of one file costs among many, and how much memory one with a Service takes.
func BenchmarkManifests(b *testing.B) {
	for _, n := range []int{100, 1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			path := b.TempDir()
			write := func(i, last int) string {
				name := fmt.Sprintf("service-%d.yaml", i)
				text := serviceText(fmt.Sprintf("service-%d", i), last)
				if err := os.WriteFile(filepath.Join(path, name), []byte(text), 0o644); err != nil {
					b.Fatal(err)
				}
				return name
			}
			for i := range n {
				write(i, 1)
			}
			used := func() uint64 {
				var m runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&m)
				return m.HeapAlloc
			}
			before := used()
			d, err := Open(path, func(string, string) {})
			if err != nil {
				b.Fatal(err)
			}
			taken := float64(used()-before) / float64(n)
			for i := 0; b.Loop(); i++ {
				d.look(map[string]struct{}{write(i%n, 2+i%2): {}})
			}
			b.ReportMetric(taken, "B/file")
		})
	}
}

func TestWhatEditorsLeaveIsNotRead(t *testing.T) {
	b := open(t, map[string]string{"a.yaml": serviceText("a", 1)})
	for _, name := range []string{
		".a.yaml.swp", ".#a.yaml", "#a.yaml#", "a.yaml~", "4913", "a.yaml.tmp", "README.md", ".hidden.yaml",
	} {
		b.write(name, "kind: [")
	}
	if err := os.Mkdir(filepath.Join(b.path, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	b.dir.Scan()
	b.want("a 10.96.0.1")
}

// TestWhatIsNoFileIsNotWaitedFor (HARDENING 15): a FIFO, socket, device or directory with a manifest's name is one
// mistake each, whether it was there from the start or took the place of a file. The others count, and links to files
// do.
func TestWhatIsNoFileIsNotWaitedFor(t *testing.T) {
	b := &book{T: t, path: t.TempDir()}
	at := func(name string) string { return filepath.Join(b.path, name) }
	b.write("a.yaml", serviceText("a", 1))
	b.write("b.yaml", serviceText("b", 2))
	b.write("text", serviceText("linked", 3))
	socket, err := net.Listen("unix", at("socket.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if err := errors.Join(syscall.Mkfifo(at("fifo.yaml"), 0o600), os.Mkdir(at("directory.yaml"), 0o700),
		os.Symlink("/dev/zero", at("device.yaml")),
		os.Symlink("text", at("linked.yaml"))); err != nil {
		t.Fatal(err)
	}
	if b.dir, err = Open(b.path, func(string, string) { b.reported = append(b.reported, "") }); err != nil {
		t.Fatal(err)
	}
	b.remove("b.yaml")
	if err := syscall.Mkfifo(at("b.yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.dir.Scan()
	b.dir.Scan()
	mistakes := b.dir.Mistakes()
	for i, want := range []string{
		"a FIFO; only regular files, and symbolic links to them, are read; its last good content stays in force", "a device",
		"a directory", "a FIFO", "a socket",
	} {
		if len(mistakes) != 5 || !strings.Contains(mistakes[i], "it is "+want) {
			t.Errorf("mistakes %q; want number %d to say %s", mistakes, i, want)
		}
	}
	if len(b.reported) != 5 {
		t.Errorf("reported %d times, want each of 5 mistakes once", len(b.reported))
	}
	for _, name := range []string{"b.yaml", "fifo.yaml", "socket.yaml", "device.yaml", "directory.yaml"} {
		if err := os.RemoveAll(at(name)); err != nil {
			t.Fatal(err)
		}
	}
	b.dir.Scan()
	b.want("a 10.96.0.1, linked 10.96.0.3")
}

func TestDirectoryGoesAndComesBack(t *testing.T) {
	b := open(t, map[string]string{"a.yaml": serviceText("a", 1)})
	if err := os.RemoveAll(b.path); err != nil {
		t.Fatal(err)
	}
	b.dir.Scan()
	b.want("a 10.96.0.1", "last good content of all files")
	if err := os.Mkdir(b.path, 0o755); err != nil {
		t.Fatal(err)
	}
	b.write("b.yaml", serviceText("b", 2))
	b.dir.Scan()
	b.want("b 10.96.0.2")
	if _, err := Open(filepath.Join(b.path, "nowhere"), nil); err == nil {
		t.Error("a directory that does not exist is opened")
	}
}

// TestWatch: with the real notifications of the file system, every way of changing a file arrives, as events in their
// order.
func TestWatch(t *testing.T) {
	b := open(t, map[string]string{"a.yaml": serviceText("a", 1)})
	go b.dir.Run(t.Context())
	_, version := b.list("Service")
	watch, err := listerWatcher{b.dir, "Service"}.Watch(metav1.ListOptions{ResourceVersion: version})
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Stop()
	next := func(want string) {
		t.Helper()
		select {
		case e := <-watch.ResultChan():
			s := e.Object.(*v1.Service)
			if got := fmt.Sprintf("%s %s %s", e.Type, s.Name, s.Spec.ClusterIP); got != want {
				t.Fatalf("event %q, want %q", got, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("no event, want %q", want)
		}
	}
	b.write("b.yaml", serviceText("b", 2))
	next("ADDED b 10.96.0.2")
	b.write("b.yaml", serviceText("b", 3)) // in place, of the same size
	next("MODIFIED b 10.96.0.3")
	b.replace("b.yaml", serviceText("b", 4))
	next("MODIFIED b 10.96.0.4")
	b.remove("b.yaml")
	next("DELETED b 10.96.0.4")
	// As a ConfigMap is mounted: files are links through a link that is exchanged.
	for i, data := range []string{"..1", "..2"} {
		if err := os.Mkdir(filepath.Join(b.path, data), 0o755); err != nil {
			t.Fatal(err)
		}
		b.write(data+"/m.yaml", serviceText("m", 10+i))
	}
	link := func(to, name string) {
		t.Helper()
		if err := os.Symlink(to, filepath.Join(b.path, name+".new")); err != nil {
			t.Fatal(err)
		}
		b.rename(name+".new", name)
	}
	link("..1", "..data")
	link("..data/m.yaml", "m.yaml")
	next("ADDED m 10.96.0.10")
	link("..2", "..data")
	next("MODIFIED m 10.96.0.11")
}

// TestWatchBeginsWhereTheListEnded: what changed between a list and its watch comes with the watch, in order; where
// something went the reflector is to list anew.
func TestWatchBeginsWhereTheListEnded(t *testing.T) {
	b := open(t, map[string]string{"a.yaml": serviceText("a", 1), "b.yaml": serviceText("b", 2)})
	_, version := b.list("Service")
	services := listerWatcher{b.dir, "Service"}
	b.write("c.yaml", serviceText("c", 3))
	b.dir.Scan()
	b.write("a.yaml", serviceText("a", 4))
	b.dir.Scan()
	since, err := services.Watch(metav1.ListOptions{ResourceVersion: version})
	if err != nil {
		t.Fatal(err)
	}
	defer since.Stop()
	b.write("d.yaml", serviceText("d", 5))
	b.dir.Scan()
	for _, want := range []string{"c 10.96.0.3", "a 10.96.0.4", "d 10.96.0.5"} {
		s := (<-since.ResultChan()).Object.(*v1.Service)
		if got := s.Name + " " + s.Spec.ClusterIP; got != want {
			t.Errorf("event %q, want %q", got, want)
		}
		version = s.ResourceVersion
	}
	b.remove("b.yaml")
	b.dir.Scan()
	if _, err := services.Watch(metav1.ListOptions{ResourceVersion: version}); !apierrors.IsResourceExpired(err) {
		t.Errorf("a watch from before a deletion: %v, want expired", err)
	}
	_, now := b.list("Service")
	again, err := services.Watch(metav1.ListOptions{ResourceVersion: now})
	if err != nil {
		t.Fatal(err)
	}
	again.Stop()
	for _, wrong := range []string{"", "x", now + "0"} {
		if _, err := services.Watch(metav1.ListOptions{ResourceVersion: wrong}); !apierrors.IsResourceExpired(err) {
			t.Errorf("a watch from version %q: %v, want expired", wrong, err)
		}
	}
}

// TestHalfWrittenFiles: a file that is written in place, piece by piece, takes nothing away on the way.
func TestHalfWrittenFiles(t *testing.T) {
	var whole strings.Builder
	for i := range 50 {
		whole.WriteString("---\n" + serviceText(fmt.Sprintf("s%02d", i), 1+i))
	}
	b := open(t, map[string]string{"a.yaml": whole.String()})
	go b.dir.Run(t.Context())
	watch, err := listerWatcher{b.dir, "Service"}.Watch(metav1.ListOptions{
		ResourceVersion: fmt.Sprint(b.dir.versions["Service"]),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Stop()
	b.write("b.yaml", serviceText("b", 200))
	select {
	case <-watch.ResultChan(): // now it listens
	case <-time.After(20 * time.Second):
		t.Fatal("no event")
	}
	f, err := os.Create(filepath.Join(b.path, "a.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, document := range strings.SplitAfter(strings.ReplaceAll(whole.String(), "s49", "s99"), "---\n") {
		if _, err := f.WriteString(document); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for range 2 {
		select {
		case e := <-watch.ResultChan():
			got[fmt.Sprintf("%s %s", e.Type, e.Object.(*v1.Service).Name)] = true
		case <-time.After(20 * time.Second):
			t.Fatal("no event")
		}
	}
	if !got["ADDED s99"] || !got["DELETED s49"] {
		t.Errorf("events %v, want s99 added and s49 deleted", got)
	}
}

func TestSlicesAreListed(t *testing.T) {
	b := open(t, map[string]string{
		"a.yaml": "apiVersion: v1\nkind: List\nitems:\n- apiVersion: discovery.k8s.io/v1\n  kind: EndpointSlice\n  metadata: {name: a, namespace: ns}\n  addressType: IPv4\n  endpoints: []\n",
	})
	objects, _ := b.list("EndpointSlice")
	if len(objects) != 1 {
		t.Fatalf("slices %+v", objects)
	}
	if s := objects[0].(*discovery.EndpointSlice); s.Namespace != "ns" || s.UID == "" || s.ResourceVersion != "1" {
		t.Errorf("slice %+v", s)
	}
}
