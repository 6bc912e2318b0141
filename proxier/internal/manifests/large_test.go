package manifests

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// largeText is a file that is read beside the others, with one Service.
func largeText(name string, last int) string {
	return serviceText(name, last) + strings.Repeat("# filler\n", largeFile/9+1)
}

// TestOthersDoNotWaitForALargeFile: between the reading of a large file and its coming into force other files change,
// and the file itself goes, or has another content, which counts.
func TestOthersDoNotWaitForALargeFile(t *testing.T) {
	for _, c := range []struct {
		name string
		// meanwhile is done when the file was read with Service large at 2, and had it at 1 before.
		meanwhile func(*book)
		want      string
		mistakes  []string
	}{
		{"it stays", func(*book) {}, "large 10.96.0.2, small 10.96.0.2", nil},
		{"it goes", func(b *book) { b.remove("large.yaml") }, "small 10.96.0.2", nil},
		{"it becomes small", func(b *book) {
			b.write("large.yaml", serviceText("large", 3))
			b.await("large 10.96.0.3, small 10.96.0.2")
		}, "large 10.96.0.3, small 10.96.0.2", nil},
		{"it becomes another large one", func(b *book) { b.write("large.yaml", largeText("other", 4)) },
			"other 10.96.0.4, small 10.96.0.2", nil},
		{"it becomes a wrong one", func(b *book) { b.write("large.yaml", largeText("other", 4)+"---\nkind: [") },
			"large 10.96.0.2, small 10.96.0.2", []string{"large.yaml line last good content"}},
		{"it becomes empty", func(b *book) {
			b.write("large.yaml", "")
			b.await("large 10.96.0.1, small 10.96.0.2", "large.yaml empty last good content")
		}, "large 10.96.0.1, small 10.96.0.2", []string{"large.yaml empty last good content"}},
		{"it goes and comes back", func(b *book) {
			b.remove("large.yaml")
			b.await("small 10.96.0.2")
			b.write("large.yaml", largeText("again", 5))
		}, "again 10.96.0.5, small 10.96.0.2", nil},
		{"another large one comes", func(b *book) { b.write("larger.yaml", largeText("larger", 6)) },
			"large 10.96.0.2, larger 10.96.0.6, small 10.96.0.2", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := open(t, map[string]string{"large.yaml": largeText("large", 1), "small.yaml": serviceText("small", 1)})
			large := newLargeFiles()
			read, goOn := make(chan struct{}), make(chan struct{})
			var once sync.Once
			large.read = func() {
				once.Do(func() {
					close(read)
					<-goOn
				})
			}
			b.replace("large.yaml", largeText("large", 2))
			go b.dir.run(t.Context(), large)
			<-read
			b.replace("small.yaml", serviceText("small", 2))
			b.await("large 10.96.0.1, small 10.96.0.2")
			c.meanwhile(b)
			close(goOn)
			b.await(c.want, c.mistakes...)
		})
	}
}

// replace writes another file and has it take the name.
func (b *book) replace(name, text string) {
	b.Helper()
	b.write("new", text)
	b.rename("new", name)
}

// await waits until these Services are in force, with these mistakes.
func (b *book) await(services string, mistakes ...string) {
	b.Helper()
	wrong := func() bool {
		got := b.dir.Mistakes()
		return b.services() != services || len(got) != len(mistakes) ||
			slices.ContainsFunc(mistakes, func(words string) bool {
				return !slices.ContainsFunc(got, func(text string) bool { return hasWords(text, words) })
			})
	}
	for end := time.Now().Add(20 * time.Second); wrong(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			b.want(services, mistakes...)
			b.FailNow()
		}
	}
}
