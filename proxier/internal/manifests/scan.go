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
	// modified, size and claims are of its last good content; good says that there was one.
	modified time.Time
	size     int64
	claims   []*claim
	good     bool
	// wrong says why its present content cannot be used, note what in it is left out; empty where nothing is.
	wrong, note string
}

// Scan reads all files and sends the watchers what has changed.
func (d *Directory) Scan() {
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
	change := changed{files: map[*file]struct{}{}, keys: map[objectKey]struct{}{}}
	for name := range names {
		d.read(name, &change)
	}
	d.publish(&change)
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
	if err == nil && f.good && f.wrong == "" && f.modified.Equal(info.ModTime()) && f.size == info.Size() &&
		time.Since(f.modified) > 2*time.Second {
		return
	}
	change.files[f] = struct{}{}
	var claims []*claim
	var note string
	if err == nil {
		claims, note, err = f.load(path)
	}
	if err != nil {
		kept := "; it is left out"
		if f.good {
			kept = "; its last good content stays in force"
		}
		f.wrong = err.Error() + kept
		return
	}
	f.modified, f.size, f.good, f.wrong, f.note = info.ModTime(), info.Size(), true, "", note
	d.claim(f, claims, change)
}

// load reads the content.
func (f *file) load(path string) (claims []*claim, note string, err error) {
	content, err := inputfile.Read(path, inputfile.MaxBytes)
	if err != nil {
		return nil, "", err
	}
	found, note, err := readable(content)
	if err != nil {
		return nil, "", err
	}
	if len(found) == 0 && len(f.claims) > 0 {
		// More likely it was read between truncating and writing than meant so: to remove its objects, one deletes the
		// file.
		return nil, "", errors.New("the file is empty")
	}
	for _, o := range found {
		data, err := pack(o.Value)
		if err != nil {
			return nil, "", fmt.Errorf("line %d: %s: %w", o.Line, o, err)
		}
		claims = append(claims, &claim{file: f, key: o.key, line: o.Line, data: data})
	}
	return claims, note, nil
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
