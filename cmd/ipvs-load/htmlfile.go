package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/html"
)

// htmlFile is where --html writes its page; empty is nowhere. The page appears there whole or not at all.
type htmlFile string

// try says whether the page can be written, before a run costs its time. It leaves nothing behind.
func (f htmlFile) try() error {
	if f == "" {
		return nil
	}
	w, _, err := f.create()
	if err == nil {
		err = errors.Join(w.Close(), os.Remove(w.Name()))
	}
	return f.explain(err)
}

// save writes the page of the runs, if there are any.
func (f htmlFile) save(runs ...html.Run) error {
	if f == "" || len(runs) == 0 {
		return nil
	}
	w, path, err := f.create()
	if err != nil {
		return f.explain(err)
	}
	err = errors.Join(html.Write(w, runs...), w.Close())
	if err == nil {
		err = os.Rename(w.Name(), path)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(w.Name()))
	}
	return f.explain(err)
}

func (f htmlFile) explain(err error) error {
	if err != nil {
		return fmt.Errorf("--html %s: %w", string(f), err)
	}
	return nil
}

// create opens a file beside the one at path, whose name it takes when it is complete. It is not made by os.CreateTemp,
// whose files nobody else may read whatever the umask says.
func (f htmlFile) create() (w *os.File, path string, err error) {
	if path, err = f.destination(); err != nil {
		return nil, "", err
	}
	w, err = os.OpenFile(fmt.Sprintf("%s.%d.unfinished", path, os.Getpid()), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	return w, path, err
}

// destination is the file that a symbolic link leads to, because renaming would replace the link. Whatever is there
// must be an ordinary file: renaming would replace a device as well.
func (f htmlFile) destination() (string, error) {
	path, err := filepath.EvalSymlinks(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return string(f), nil
	}
	if err != nil {
		return "", err
	}
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not an ordinary file")
	}
	return path, err
}
