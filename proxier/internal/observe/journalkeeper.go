package observe

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/statedir"
)

const (
	// keeperQueue is how many entries wait to be written. Beyond it they are counted, and kept in memory alone: the
	// engine does not wait for a disk.
	keeperQueue = 512
	// keeperRest is the time to the next try after one that failed.
	keeperRest = 5 * time.Second
	// keeperEnd is how long the end of the process waits for what is still to be written.
	keeperEnd = time.Second
)

// JournalKeeper writes a Journal's entries to files, in a goroutine of its own, and brings back those of the processes
// before. What goes wrong is in the log and in the Journal, and nowhere else.
type JournalKeeper struct {
	dir     string
	start   journalStart
	journal *Journal
	log     *slog.Logger
	queue   chan journalEntry
	rest    time.Duration
	most    int64 // bytes of a file

	lock   io.Closer // of the directory
	file   *os.File  // nil where it could not be opened
	size   int64
	unkept string // why the journal is not kept, as last reported; "" while it is
}

// KeepJournal begins to keep the Journal in a directory, which is made where it is missing. stop writes what is still
// to be written, but does not wait for long.
func KeepJournal(j *Journal, dir, version string, log *slog.Logger) (stop func()) {
	k := &JournalKeeper{
		dir: dir, start: journalStart{Time: time.Now().UTC(), Node: j.node, Version: version}, journal: j, log: log,
		queue: make(chan journalEntry, keeperQueue), rest: keeperRest, most: journalFileBytes,
	}
	return k.begin()
}

func (k *JournalKeeper) begin() (stop func()) {
	k.journal.keepIn(k.queue)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		k.run(ctx)
	}()
	return func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(keeperEnd):
		}
	}
}

func (k *JournalKeeper) run(ctx context.Context) {
	defer k.close()
	for {
		err := k.open()
		if k.report(err); err == nil {
			break
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(k.rest):
		}
	}
	k.report(k.write(journalLine{Start: &k.start}))
	for {
		select {
		case e := <-k.queue:
			k.keep(e)
		case <-ctx.Done():
			for {
				select {
				case e := <-k.queue:
					k.keep(e)
				default:
					return
				}
			}
		}
	}
}

// open takes the directory, so that two processes do not write there, and brings back what is in it.
func (k *JournalKeeper) open() error {
	if k.lock == nil {
		lock, err := statedir.Hold(k.dir)
		if err != nil {
			return err
		}
		k.lock = lock
	}
	var before []journalLine
	for _, name := range []string{journalFileOld, journalFile} {
		path := filepath.Join(k.dir, name)
		lines, whole, err := readJournalFile(path)
		before = append(before, lines...)
		switch {
		case errors.Is(err, os.ErrNotExist):
		case err != nil:
			aside := filepath.Join(k.dir, journalFileAside)
			k.log.Warn("a file of the journal cannot be used, and is put aside", "err", err, "aside", aside,
				"entries", len(lines))
			if err := os.Rename(path, aside); err != nil {
				return err
			}
		case name == journalFile:
			if err := os.Truncate(path, whole); err != nil {
				return err
			}
		}
	}
	k.journal.bringBack(journalOf(before, true))
	return k.reopen()
}

// reopen opens the file to write at its end, and makes it where it is missing.
func (k *JournalKeeper) reopen() error {
	if k.file != nil {
		k.file.Close()
		k.file = nil
	}
	f, err := statedir.Append(filepath.Join(k.dir, journalFile))
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	k.file, k.size = f, info.Size()
	if k.size == 0 {
		return k.put(journalLine{Program: journalProgram, Format: journalFormat}.text())
	}
	return nil
}

// keep writes an entry, with how many were lost ahead of it.
func (k *JournalKeeper) keep(e journalEntry) {
	lost := k.journal.takeUnkept()
	status := e.status()
	err := error(nil)
	if lost > 0 {
		err = k.write(journalLine{Lost: lost})
	}
	if err != nil {
		k.journal.notKept(lost)
	} else {
		err = k.write(journalLine{Entry: &status})
	}
	if err != nil {
		k.journal.notKept(1)
	}
	k.report(err)
}

// write writes a line. A file that is full becomes the old one; one that somebody has taken away is made anew.
func (k *JournalKeeper) write(l journalLine) error {
	text := l.text()
	path := filepath.Join(k.dir, journalFile)
	ours := k.ours(path)
	if ours && k.size+int64(len(text)) > k.most {
		if err := os.Rename(path, filepath.Join(k.dir, journalFileOld)); err != nil {
			return err
		}
		ours = false
	}
	if !ours {
		if err := k.reopen(); err != nil {
			return err
		}
	}
	return k.put(text)
}

// ours reports whether the file that is open is the one that has the name.
func (k *JournalKeeper) ours(path string) bool {
	if k.file == nil {
		return false
	}
	open, err := k.file.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(path)
	return err == nil && os.SameFile(open, named)
}

// put writes a text at the end, whole or not at all.
func (k *JournalKeeper) put(text []byte) error {
	if _, err := k.file.Write(text); err != nil {
		return errors.Join(err, k.file.Truncate(k.size))
	}
	k.size += int64(len(text))
	return nil
}

// report logs why the journal is not kept when the reason changes, and once when it is kept again.
func (k *JournalKeeper) report(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text == k.unkept {
		return
	}
	k.unkept = text
	k.journal.sayUnkept(text)
	if err != nil {
		k.log.Warn("the journal is not kept over a restart; it is in memory, and this is tried again", "err", err)
	} else {
		k.log.Info("the journal is kept", "dir", k.dir)
	}
}

func (k *JournalKeeper) close() {
	if k.file != nil {
		k.file.Close()
	}
	if k.lock != nil {
		k.lock.Close()
	}
}
