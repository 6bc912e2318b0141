package observe

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/engine"
)

// logged is a log that several goroutines write.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// life is a process that keeps its journal in a directory.
type life struct {
	*Journal
	t   *testing.T
	log logged
	end func()
}

func live(t *testing.T, dir string, most int64) *life {
	l := &life{Journal: NewJournal("n1"), t: t}
	k := &JournalKeeper{
		dir: dir, start: journalStart{Time: time.Now(), Node: "n1"}, journal: l.Journal, queue: make(chan journalEntry, 1000),
		log: slog.New(slog.NewTextHandler(&l.log, nil)), rest: time.Millisecond, most: most,
	}
	l.end = sync.OnceFunc(k.begin())
	t.Cleanup(l.end)
	return l
}

// does notes a change of the Services of these numbers.
func (l *life) does(numbers ...int) {
	for _, i := range numbers {
		e := journalEntry{at: time.Unix(int64(i), 0), of: cluster.Name{Namespace: "a", Name: fmt.Sprint("s", i)},
			cause: engine.Changed, count: 1, services: 1}
		l.mu.Lock()
		l.put(e)
		l.Journal.keep(e)
		l.mu.Unlock()
	}
}

func (l *life) await(what string, is func() bool) {
	l.t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			l.t.Fatalf("never came true: %s; the log:\n%s", what, l.log.String())
		}
	}
}

// entries returns the names in a journal, with a ' behind those of before a restart.
func entries(s JournalStatus) (text string) {
	for _, e := range s.Entries {
		text += e.Name
		if e.BeforeRestart {
			text += "'"
		}
		text += " "
	}
	return strings.TrimSpace(text)
}

// TestTheJournalIsKept over restarts, whoever reads it; what was before the last start is marked.
func TestTheJournalIsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	first := live(t, dir, journalFileBytes)
	first.does(1, 2)
	first.end()
	if s, err := ReadKeptJournal(dir); err != nil || entries(s) != "s1 s2" || s.Node != "n1" {
		t.Errorf("of a dead process: %s, %v", entries(s), err)
	}
	second := live(t, dir, journalFileBytes)
	second.does(3)
	second.await("the first life is known", func() bool { return entries(second.Status(nil)) == "s1' s2' s3" })
	if of := entries(second.of(cluster.Name{Namespace: "a", Name: "s2"})); of != "s2'" {
		t.Errorf("of one Service: %s", of)
	}
	second.end()
	third := live(t, dir, journalFileBytes)
	third.await("both lives are known", func() bool { return entries(third.Status(nil)) == "s1' s2' s3'" })
	third.end()
	if s, err := ReadKeptJournal(dir); err != nil || entries(s) != "s1' s2' s3'" {
		t.Errorf("of a dead process that did nothing: %s, %v", entries(s), err)
	}
	for _, name := range []string{".", journalFile} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is for others, too: %v, %v", name, info, err)
		}
	}
}

// TestTheFilesHaveABound: the oldest entries go.
func TestTheFilesHaveABound(t *testing.T) {
	dir := t.TempDir()
	const most = 4096
	l := live(t, dir, most)
	for i := range 200 {
		l.does(i)
	}
	l.end()
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 2 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Size() > most {
			t.Errorf("%s has %d bytes, %d are allowed: %v", f.Name(), info.Size(), most, err)
		}
	}
	s, err := ReadKeptJournal(dir)
	if n := len(s.Entries); err != nil || n < 10 || n > 100 || s.Entries[n-1].Name != "s199" {
		t.Errorf("%v: %s", err, entries(s))
	}
}

// TestWhatIsNoJournalIsPutAside: a broken file is renamed, and the log says so. What can be read of it is not lost, and
// what comes next is kept.
func TestWhatIsNoJournalIsPutAside(t *testing.T) {
	first := string(journalLine{Program: journalProgram, Format: journalFormat}.text())
	good := first + string(journalLine{Entry: &JournalEntry{Name: "s1"}}.text())
	for name, c := range map[string]struct {
		text  string
		aside string // what is logged
		want  string
	}{
		"foreign":        {"#!/bin/sh\n", "is no journal of ipvs-proxier", "s9"},
		"of the future":  {`{"program":"` + journalProgram + `","format":2}` + "\n", "has the format 2, and this version reads 1", "s9"},
		"empty":          {"", "has no first line", "s9"},
		"cut at once":    {first[:5], "has no first line", "s9"},
		"broken":         {good + "{\n" + string(journalLine{Entry: &JournalEntry{Name: "s2"}}.text()), "is broken in line 3", "s1' s9"},
		"too large":      {good + strings.Repeat(" ", 2*journalFileBytes), "is larger than the 2097152 bytes", "s9"},
		"cut at the end": {good + `{"entry":{"na`, "", "s1' s9"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, journalFile), []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			l := live(t, dir, journalFileBytes)
			l.does(9)
			l.end()
			if got := entries(l.Status(nil)); got != c.want {
				t.Errorf("the journal says %q, want %q", got, c.want)
			}
			aside, err := os.ReadFile(filepath.Join(dir, journalFileAside))
			if c.aside == "" != os.IsNotExist(err) || c.aside != "" && string(aside) != c.text ||
				!strings.Contains(l.log.String(), c.aside) {
				t.Errorf("aside are %d bytes of %d, %v; the log, which is to say %q:\n%s",
					len(aside), len(c.text), err, c.aside, l.log.String())
			}
			if s, err := ReadKeptJournal(dir); err != nil || !strings.HasSuffix(entries(s), "s9") {
				t.Errorf("what is kept now: %s, %v", entries(s), err)
			}
		})
	}
	for name, make := range map[string]func(path string) error{
		"a directory": func(path string) error { return os.Mkdir(path, 0o700) },
		"a link":      func(path string) error { return os.Symlink("/dev/zero", path) },
	} {
		dir := t.TempDir()
		if err := make(filepath.Join(dir, journalFile)); err != nil {
			t.Fatal(err)
		}
		l := live(t, dir, journalFileBytes)
		l.does(9)
		l.await(name+" is put aside", func() bool { s, err := ReadKeptJournal(dir); return err == nil && entries(s) == "s9" })
		l.end()
	}
}

// TestAJournalThatCannotBeKept is in memory, says so once, and is kept again when it can be, with how many are missing.
func TestAJournalThatCannotBeKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l := live(t, dir, journalFileBytes)
	l.await("it is said", func() bool { return strings.Contains(l.Status(nil).Unkept, "not a directory") })
	for i := range 1002 { // two more than the queue holds
		l.does(i)
	}
	if n := len(l.Status(nil).Entries); n != journalEntries {
		t.Errorf("in memory are %d entries", n)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	l.await("it is kept", func() bool {
		s, err := ReadKeptJournal(dir)
		return err == nil && strings.HasSuffix(entries(s), "s999")
	})
	l.end()
	if s, err := ReadKeptJournal(dir); err != nil || s.Forgotten < 2 {
		t.Errorf("%d are said to be missing, %v", s.Forgotten, err)
	}
	if said := strings.Count(l.log.String(), "the journal is not kept"); said != 1 || l.Status(nil).Unkept != "" {
		t.Errorf("said %d times:\n%s", said, l.log.String())
	}
}

// TestTwoProcessesKeepNoJournalInOnePlace: the second one waits for the end of the first one.
func TestTwoProcessesKeepNoJournalInOnePlace(t *testing.T) {
	dir := t.TempDir()
	first := live(t, dir, journalFileBytes)
	first.does(1)
	first.await("it is kept", func() bool { s, err := ReadKeptJournal(dir); return err == nil && entries(s) == "s1" })
	second := live(t, dir, journalFileBytes)
	second.does(2)
	second.await("it is said", func() bool { return strings.Contains(second.Status(nil).Unkept, "another process") })
	first.end()
	second.await("it is kept", func() bool { s, err := ReadKeptJournal(dir); return err == nil && entries(s) == "s1' s2" })
}
