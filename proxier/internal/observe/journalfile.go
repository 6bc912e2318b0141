package observe

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/statedir"
)

// The files of a journal that outlives its process: JSON, a line each. A full file takes the place of the old one, so
// that there are two at most. What cannot be used is put aside, in the place of what was put aside before.
const (
	journalFile      = "journal.jsonl"
	journalFileOld   = "journal.old.jsonl"
	journalFileAside = "journal.aside.jsonl"
	// journalFileBytes is how large a file gets: some 2,000 entries of 500 bytes.
	journalFileBytes = 1 << 20
	// journalProgram and journalFormat are in the first line. Another format gets another number.
	journalProgram = "ipvs-proxier journal"
	journalFormat  = 1
)

// journalLine is one line of a file: the first one, the start of a process, an entry, or the number of entries that
// were lost.
type journalLine struct {
	Program string        `json:"program,omitempty"`
	Format  int           `json:"format,omitempty"`
	Start   *journalStart `json:"start,omitempty"`
	Entry   *JournalEntry `json:"entry,omitempty"`
	Lost    int           `json:"lost,omitempty"`
}

type journalStart struct {
	Time    time.Time `json:"time"`
	Node    string    `json:"node"`
	Version string    `json:"version"`
}

func (l journalLine) text() []byte {
	text, err := json.Marshal(l)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return append(text, '\n')
}

// readJournalFile returns the lines of a file behind the first one, and how many bytes of it are whole lines: a process
// that was killed may have written half of the last one. With an error the lines are those before what is wrong.
func readJournalFile(path string) (lines []journalLine, whole int64, err error) {
	text, err := statedir.Read(path, 2*journalFileBytes)
	if err != nil {
		return nil, 0, err
	}
	for number := 1; ; number++ {
		line, rest, ended := bytes.Cut(text, []byte{'\n'})
		if !ended {
			if number == 1 {
				return nil, 0, fmt.Errorf("%s has no first line of a journal", path)
			}
			return lines, whole, nil
		}
		var l journalLine
		err := json.Unmarshal(line, &l)
		switch {
		case number == 1 && (err != nil || l.Program != journalProgram):
			return nil, 0, fmt.Errorf("%s is no journal of ipvs-proxier", path)
		case number == 1 && l.Format != journalFormat:
			return nil, 0, fmt.Errorf("%s has the format %d, and this version reads %d", path, l.Format, journalFormat)
		case err != nil:
			return lines, whole, fmt.Errorf("%s is broken in line %d: %w", path, number, err)
		case number > 1:
			lines = append(lines, l)
		}
		whole += int64(len(line)) + 1
		text = rest
	}
}

// journalOf returns the journal that the lines hold. Entries ahead of the last start are marked; with restarted all
// are.
func journalOf(lines []journalLine, restarted bool) (s JournalStatus) {
	s.Entries = []JournalEntry{}
	last := -1
	for i, l := range lines {
		if l.Start != nil {
			s.Node, last = l.Start.Node, i
		}
	}
	for i, l := range lines {
		s.Forgotten += l.Lost
		if l.Entry == nil {
			continue
		}
		e := *l.Entry
		e.BeforeRestart = restarted || i < last
		if n := len(s.Entries); n > 0 && e.started() && s.Entries[n-1].started() &&
			e.BeforeRestart == s.Entries[n-1].BeforeRestart {
			s.Entries[n-1].add(e)
		} else {
			s.Entries = append(s.Entries, e)
		}
	}
	if more := len(s.Entries) - journalEntries; more > 0 {
		s.Entries, s.Forgotten = s.Entries[more:], s.Forgotten+more
	}
	return s
}

// started reports whether it is of a sync of a start, all of which are one entry.
func (e *JournalEntry) started() bool { return e.Cause == "start" && len(e.Operations) == 0 }

func (e *JournalEntry) add(o JournalEntry) {
	e.Time, e.Count, e.Failed, e.Services = o.Time, e.Count+o.Count, e.Failed+o.Failed, e.Services+o.Services
	e.CompileSeconds += o.CompileSeconds
	e.KernelSeconds += o.KernelSeconds
}

// ReadKeptJournal returns what a process has kept in a directory, whether it lives or not. Entries of processes before
// the last one are marked. An error is of a file that cannot be used; what could be read comes with it. Where there is
// no file it is [os.ErrNotExist].
func ReadKeptJournal(dir string) (JournalStatus, error) {
	var all []journalLine
	var errs []error
	missing := 0
	for _, name := range []string{journalFileOld, journalFile} {
		lines, _, err := readJournalFile(filepath.Join(dir, name))
		all = append(all, lines...)
		switch {
		case errors.Is(err, os.ErrNotExist):
			missing++
		case err != nil:
			errs = append(errs, err)
		}
	}
	if missing == 2 {
		return JournalStatus{}, fmt.Errorf("no journal is kept in %s: %w", dir, os.ErrNotExist)
	}
	return journalOf(all, false), errors.Join(errs...)
}
