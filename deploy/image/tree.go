package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// tree is the files of a layer by their paths, without a slash in front.
type tree struct {
	files map[string]entry
	// date is that of all files.
	date time.Time
}

// entry is a file, or a symbolic link where target is set.
type entry struct {
	mode    fs.FileMode
	target  string
	content []byte
}

func newTree(date time.Time) *tree { return &tree{files: map[string]entry{}, date: date} }

func (t *tree) add(name string, mode fs.FileMode, content []byte) {
	t.files[name] = entry{mode: mode, content: content}
}

func (t *tree) link(name, target string) { t.files[name] = entry{target: target} }

// take adds a file of an unpacked package, with the links on its way. Directories that are links in the image's root,
// such as lib, are looked through.
func (t *tree) take(root, name string) error {
	for range 8 { // links that lead to links
		full := filepath.Join(root, name)
		info, err := os.Lstat(full)
		if err != nil {
			return err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			content, err := os.ReadFile(full)
			if err != nil {
				return err
			}
			t.add(name, info.Mode().Perm(), content)
			return nil
		}
		target, err := os.Readlink(full)
		if err != nil {
			return err
		}
		t.link(name, target)
		if path.IsAbs(target) {
			name = strings.TrimPrefix(path.Clean(target), "/")
		} else {
			name = path.Join(path.Dir(name), target)
		}
	}
	return fmt.Errorf("%s: links lead to links without an end", name)
}

// tar writes the tree: sorted, with the directories, owned by root. The same tree gives the same bytes.
func (t *tree) tar() ([]byte, error) {
	directories := map[string]bool{}
	for name := range t.files {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			directories[dir] = true
		}
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	names := slices.Sorted(maps.Keys(t.files))
	for dir := range directories {
		names = append(names, dir+"/")
	}
	slices.Sort(names)
	for _, name := range names {
		header := &tar.Header{Name: name, ModTime: t.date, Format: tar.FormatPAX}
		file := t.files[name]
		switch {
		case strings.HasSuffix(name, "/"):
			header.Typeflag, header.Mode = tar.TypeDir, 0o755
		case file.target != "":
			header.Typeflag, header.Linkname, header.Mode = tar.TypeSymlink, file.target, 0o777
		default:
			header.Typeflag, header.Mode, header.Size = tar.TypeReg, int64(file.mode), int64(len(file.content))
		}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write(file.content); err != nil {
			return nil, err
		}
	}
	// The archive's end is written by Close.
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
