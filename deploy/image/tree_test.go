package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestATreeIsAWholeArchiveInOrder(t *testing.T) {
	files := newTree(time.Unix(1764460000, 0).UTC())
	files.add("usr/local/bin/program", 0o755, []byte("program"))
	files.link("bin", "usr/bin")
	files.add("etc/passwd", 0o644, []byte("root"))
	text, err := files.tar()
	if err != nil {
		t.Fatal(err)
	}
	for range 20 { // maps have no order
		if again, err := files.tar(); err != nil || !bytes.Equal(again, text) {
			t.Fatalf("the same tree gives other bytes, %v", err)
		}
	}
	var got []string
	r := tar.NewReader(bytes.NewReader(text))
	for {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !header.ModTime.Equal(files.date) || header.Uid != 0 || header.Uname != "" {
			t.Errorf("%s: %+v", header.Name, header)
		}
		got = append(got, header.Name)
	}
	if want := []string{
		"bin", "etc/", "etc/passwd", "usr/", "usr/local/", "usr/local/bin/", "usr/local/bin/program",
	}; !slices.Equal(got, want) {
		t.Errorf("want %q, got %q", want, got)
	}
	// Two empty blocks are the end; without them other programs refuse the archive.
	if end := make([]byte, 1024); !bytes.HasSuffix(text, end) {
		t.Error("the archive has no end")
	}
}

func TestLinksOnTheWayAreTaken(t *testing.T) {
	root := t.TempDir()
	if err := errors.Join(os.MkdirAll(filepath.Join(root, "usr/lib"), 0o755),
		os.WriteFile(filepath.Join(root, "usr/lib/libx.so.1.2"), []byte("x"), 0o644),
		os.Symlink("libx.so.1", filepath.Join(root, "usr/lib/libx.so")),
		os.Symlink("/usr/lib/libx.so.1.2", filepath.Join(root, "usr/lib/libx.so.1")),
		os.Symlink("round", filepath.Join(root, "usr/lib/round"))); err != nil {
		t.Fatal(err)
	}
	files := newTree(baseDate)
	if err := files.take(root, "usr/lib/libx.so"); err != nil {
		t.Fatal(err)
	}
	if files.files["usr/lib/libx.so"].target != "libx.so.1" ||
		files.files["usr/lib/libx.so.1"].target != "/usr/lib/libx.so.1.2" ||
		string(files.files["usr/lib/libx.so.1.2"].content) != "x" {
		t.Errorf("got %+v", files.files)
	}
	if err := files.take(root, "usr/lib/round"); err == nil {
		t.Error("want an error for links without an end")
	}
	if err := files.take(root, "usr/lib/none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("want an error for what is not there, got %v", err)
	}
}
