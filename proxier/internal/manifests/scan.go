package manifests

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/inputfile"
)

// file is what is known of a file.
type file struct {
	name string
	// claims are of its last good content; good says that there was one.
	claims []*claim
	good   bool
	// modified and size are those that it had when it was read last, which ended at that time and took so long.
	modified time.Time
	size     int64
	read     time.Time
	took     time.Duration
	// wrong says why its present content cannot be used, note what in it is left out; empty where nothing is.
	wrong, note string
	// turn counts how often it was to be read, taken is the turn of what is known of it.
	turn, taken uint64
}

// Scan reads all files and sends the watchers what has changed.
func (d *Directory) Scan() { d.scan(nil) }

// scan is Scan without the files that are being written.
func (d *Directory) scan(written map[string]pending) {
	d.mu.Lock()
	defer d.mu.Unlock()
	entries, err := os.ReadDir(d.path)
	if err != nil {
		d.unreadable(err)
		return
	}
	d.note("", "")
	names := make(map[string]struct{}, len(entries))
	for _, entry := range entries {
		if counts(entry.Name()) {
			names[entry.Name()] = struct{}{}
		}
	}
	for name := range d.files {
		names[name] = struct{}{}
	}
	for name := range written {
		delete(names, name)
	}
	d.lookAt(names)
}

// look is Scan for some files.
func (d *Directory) look(names map[string]struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := os.Stat(d.path); err != nil {
		d.unreadable(err) // and its files are gone with it, not each of them
		return
	}
	d.lookAt(names)
}

func (d *Directory) unreadable(err error) {
	d.note("", fmt.Sprintf("%v; the last good content of all files stays in force", err))
}

func (d *Directory) lookAt(names map[string]struct{}) {
	change := newChange()
	for name := range names {
		d.read(name, change)
	}
	d.settle(change)
}

// settle sends the watchers what has changed, and reports what is wrong now with the files concerned.
func (d *Directory) settle(change *changed) {
	d.publish(change)
	for f := range change.files {
		d.note(f.name, d.mistake(f))
	}
}

// read looks at one file.
func (d *Directory) read(name string, change *changed) {
	path := filepath.Join(d.path, name)
	f := d.files[name]
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if f != nil {
			delete(d.files, name)
			d.claim(f, nil, change)
			f.wrong, f.note = "", ""
		}
		return
	}
	if f == nil {
		f = &file{name: name}
		d.files[name] = f
	}
	if err == nil && f.isAsRead(info) {
		return
	}
	f.turn++
	switch {
	case err != nil:
		d.take(f, f.turn, content{err: err}, change)
	case d.large != nil && info.Size() > largeFile:
		d.large.add(f)
	default:
		d.take(f, f.turn, load(path), change)
	}
}

// isAsRead reports whether there is no need to read a file again. Within two seconds a file can change without a trace
// in its time. One that could not be used may be readable later, but may not take more than a part of all time.
func (f *file) isAsRead(info fs.FileInfo) bool {
	switch {
	case !f.modified.Equal(info.ModTime()) || f.size != info.Size() || time.Since(f.modified) <= 2*time.Second:
		return false
	case f.wrong != "":
		return time.Since(f.read) < rescanPart*f.took
	}
	return f.good
}

// take puts what was read at a turn in the place of what the file had.
func (d *Directory) take(f *file, turn uint64, read content, change *changed) {
	change.files[f] = struct{}{}
	f.taken = turn
	f.modified, f.size, f.read, f.took = read.modified, read.size, time.Now(), read.took
	err := read.err
	if err == nil && len(read.claims) == 0 && len(f.claims) > 0 {
		// More likely it was read between truncating and writing than meant so: to remove its objects, one deletes the
		// file.
		err = errors.New("the file is empty")
	}
	if err != nil {
		kept := "; it is left out"
		if f.good {
			kept = "; its last good content stays in force"
		}
		f.wrong = err.Error() + kept
		return
	}
	f.good, f.wrong, f.note = true, "", read.note
	for _, c := range read.claims {
		c.file = f
	}
	d.claim(f, read.claims, change)
}

// content is what was read of a file: its objects and what in it is left out, or why it cannot be used.
type content struct {
	claims   []*claim
	note     string
	err      error
	modified time.Time
	size     int64
	took     time.Duration
}

// load reads a file. It takes nothing from the directory, so that it needs no lock.
func load(path string) (read content) {
	began := time.Now()
	defer func() { read.took = time.Since(began) }()
	info, err := os.Stat(path)
	if err != nil {
		return content{err: err}
	}
	read.modified, read.size = info.ModTime(), info.Size()
	read.claims, read.note, read.err = claims(path)
	return read
}

func claims(path string) (all []*claim, note string, err error) {
	text, err := inputfile.Read(path, inputfile.MaxBytes)
	if err != nil {
		return nil, "", err
	}
	found, note, err := readable(text)
	if err != nil {
		return nil, "", err
	}
	for _, o := range found {
		data, err := pack(o.Value)
		if err != nil {
			return nil, "", fmt.Errorf("line %d: %s: %w", o.Line, o, err)
		}
		all = append(all, &claim{key: o.key, line: o.Line, data: data})
	}
	return all, note, nil
}

// readable returns the objects of a file, or its first mistake and none of them. What is of other kinds is left out,
// and note names the first one.
func readable(content []byte) (objects []Found, note string, err error) {
	found, err := Read(content)
	if err != nil {
		return nil, "", err
	}
	for _, o := range found {
		switch {
		case len(o.Mistakes) > 0:
			return nil, "", o.Mistakes[0]
		case o.Value != nil:
			objects = append(objects, o)
		case note == "":
			note = fmt.Sprintf("line %d: %s is not read here and left out; the rest of the file counts", o.Line, o)
		}
	}
	return objects, note, nil
}
