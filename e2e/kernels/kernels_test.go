package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/internal/marks"
)

var someRow = rows[0]

const resultLines = `{"test":"kernel:TestA","verdict":"PASS","on":"Linux 6.1 with iptables v1","date":"2026-11-27T23:00:00Z"}
{"test":"kernel:TestB","verdict":"FAIL","on":"Linux 6.1 with iptables v1","date":"2026-11-27T23:01:00Z","failed":["TestB/one","TestB"]}
{"test":"TestC","verdict":"DIED","on":"Linux 6.1 with iptables v1","date":"2026-11-27T23:02:00Z"}
{"test":"kernel:TestB","verdict":"PASS","on":"Linux 6.1.1 with iptables v1","date":"2026-11-28T00:00:00Z"}
{"test":"TestD","verdict":"FAIL","on":"Linux 6.1.1 with iptables v1","date":"2026-11-28T00:01:00Z","failed":["TestD/a|b","TestD"]}
`

func TestARowShowsTheLatestResultOfEachTest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results")
	if err := os.WriteFile(path, []byte(resultLines), 0o600); err != nil {
		t.Fatal(err)
	}
	results, err := readResults(path)
	if err != nil {
		t.Fatal(err)
	}
	line, passed := summary(someRow, results, []string{"kernel:TestA", "kernel:TestB"},
		[]string{"TestC", "TestD", "TestE"})
	want := "| `" + someRow.name + "` | Linux 6.1.1 with iptables v1 | 2026-11-27 to 2026-11-28 | 2 of 2 passed | 0 of 2 passed, 1 not run | " +
		`TestC (its guest died twice), TestD (a\|b) |`
	if line != want {
		t.Errorf("want %s\n got %s", want, line)
	}
	if line, _ := summary(someRow, results, nil, []string{"TestE"}); !strings.HasSuffix(line, "| not run | not run |  |") {
		t.Errorf("want nothing run, got %s", line)
	}
	if want := "kernel:TestA, kernel:TestB (run 2)"; passed != want {
		t.Errorf("want %s\n got %s", want, passed)
	}
}

// What is kept by hand stays, and so do rows that were run elsewhere.
func TestThePageKeepsWhatItCannotKnow(t *testing.T) {
	c := config{out: t.TempDir(), page: filepath.Join(t.TempDir(), "page.md")}
	elsewhere := "| `" + rows[3].name + "` | Linux 6.12 | 2026-11-01 | 1 of 1 passed | 1 of 1 passed | |"
	passed := "<details><summary><code>" + rows[3].name + "</code>: 1 passed</summary>\n\nTestX\n\n</details>\n"
	page := "# By hand\n" + begin + "\n" + elsewhere + "\n" + passed + end + "\nby hand, too\n"
	if err := os.WriteFile(c.page, []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := c.writePage(); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(c.page)
	if err != nil {
		t.Fatal(err)
	}
	got := string(text)
	if !strings.HasPrefix(got, "# By hand\n"+begin+"\n") || !strings.HasSuffix(got, end+"\nby hand, too\n") {
		t.Errorf("want what is kept by hand, got\n%s", got)
	}
	for _, line := range []string{elsewhere + "\n", passed} {
		if strings.Count(got, line) != 1 {
			t.Errorf("want %q once in\n%s", line, got)
		}
	}
	if n := strings.Count(got, "not run yet"); n != len(rows)-1 {
		t.Errorf("want the other %d rows as not run, got %d", len(rows)-1, n)
	}
}

func TestAPageWithoutMarkersIsLeftAlone(t *testing.T) {
	c := config{out: t.TempDir(), page: filepath.Join(t.TempDir(), "page.md")}
	if err := os.WriteFile(c.page, []byte("# page\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.writePage(); err == nil || !strings.Contains(err.Error(), begin) {
		t.Errorf("want an error that names the markers, got %v", err)
	}
	if text, err := os.ReadFile(c.page); err != nil || string(text) != "# page\n" {
		t.Errorf("got %s, %v", text, err)
	}
}

func TestRowsAreChosenByName(t *testing.T) {
	names := map[string]bool{}
	for _, r := range rows {
		if names[r.name] {
			t.Errorf("two rows are called %s", r.name)
		}
		names[r.name] = true
	}
	got, err := choose(rows, []string{"sid-nft", "uml-legacy"})
	if err != nil || len(got) != 2 || got[0].suite != "sid" || !got[0].usual || got[1].kernel != "uml" {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := choose(rows, nil); err != nil || len(got) != len(rows) {
		t.Errorf("want all, got %+v, %v", got, err)
	}
	if _, err := choose(rows, []string{"sid"}); err == nil || !strings.Contains(err.Error(), "sid-nft") {
		t.Errorf("want an error that names the rows, got %v", err)
	}
}

// A machine goes away with its files; the page stays, and a row goes on from it.
func TestARowGoesOnFromThePage(t *testing.T) {
	c := config{out: filepath.Join(t.TempDir(), "out"), page: filepath.Join(t.TempDir(), "page.md")}
	line := "| `" + someRow.name + "` | Linux 6.1.1 with iptables v1 | 2026-11-27 to 2026-11-28 | 2 of 3 passed, 1 not run | 1 of 3 passed, 1 not run | " +
		`kernel:TestC (its guest died twice), TestD (a\|b, c), TestE |`
	passed := "kernel:TestA, kernel:TestB (run 3), TestX"
	page := begin + "\n" + line + "\n" + folded(rows[1], "TestOfAnotherRow") + folded(someRow, passed) + end
	if err := os.WriteFile(c.page, []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.goOn(someRow); err != nil {
		t.Fatal(err)
	}
	results, err := readResults(c.results(someRow))
	if err != nil {
		t.Fatal(err)
	}
	got, gotPassed := summary(someRow, results, []string{"kernel:TestA", "kernel:TestB", "kernel:TestC"},
		[]string{"TestD", "TestE", "TestX", "TestNew"})
	want := strings.Replace(strings.Replace(line, "2 of 3 passed, 1 not run", "2 of 3 passed", 1), "2026-11-27 to ", "", 1)
	if got != want || gotPassed != passed {
		t.Errorf("want %s\n%s got %s\n%s", want, passed, got, gotPassed)
	}

	here := `{"test":"kernel:TestA","verdict":"FAIL","on":"Linux 6.2","date":"2026-11-29T00:00:00Z"}` + "\n"
	if err := os.WriteFile(c.results(someRow), []byte(here), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.goOn(someRow); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(c.results(someRow)); err != nil || string(text) != here {
		t.Errorf("want what this machine knows, got %s, %v", text, err)
	}
	if err := c.goOn(rows[2]); err != nil {
		t.Fatal(err)
	}
	if results, err := readResults(c.results(rows[2])); err != nil || results != nil {
		t.Errorf("want nothing of a row that the page does not have, got %v, %v", results, err)
	}
}

// A list of a hundred names is folded, in short lines, and is read as it was written; so is one in one line, as it was
// before.
func TestAListIsFoldedAndReadAgain(t *testing.T) {
	var names []string
	for i := range 100 {
		names = append(names, fmt.Sprintf("kernel:TestWithALongName%d (run %d)", i, i+2))
	}
	want := strings.Join(names, ", ")
	list := folded(someRow, want)
	if !strings.HasPrefix(list, "<details><summary><code>"+someRow.name+"</code>: 100 passed</summary>\n\nkernel:") ||
		!strings.HasSuffix(list, ")\n\n</details>\n") {
		t.Errorf("want a folded list, got\n%s", list)
	}
	for line := range strings.Lines(list) {
		if len(strings.TrimSpace(line)) > marks.Width {
			t.Errorf("%d characters: %s", len(line), line)
		}
	}
	for _, page := range []string{begin + "\n" + list + end, begin + "\n- `" + someRow.name + "`: " + want + "\n" + end} {
		if _, got := oldLines(page, someRow); got != want {
			t.Errorf("want %s\n got %s", want, got)
		}
	}
	if list := folded(someRow, ""); list != "" {
		t.Errorf("want nothing of a row where nothing passed, got %s", list)
	}
}
