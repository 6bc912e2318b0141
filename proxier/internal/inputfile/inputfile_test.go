package inputfile

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestOnlyRegularFiles: what is no file is named and not waited for, by its own name or through a link.
func TestOnlyRegularFiles(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(
		os.WriteFile(at("file"), []byte("text"), 0o600), os.Mkdir(at("directory"), 0o700), syscall.Mkfifo(at("FIFO"), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	socket, err := net.Listen("unix", at("socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	for kind, path := range map[string]string{
		"file": at("file"), "directory": at("directory"), "FIFO": at("FIFO"), "socket": at("socket"), "device": "/dev/zero",
	} {
		link := at("link-to-" + kind)
		if err := os.Symlink(path, link); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{path, link} {
			text, err := Read(path, MaxBytes)
			if kind == "file" {
				if err != nil || string(text) != "text" {
					t.Errorf("%s: %q, %v", path, text, err)
				}
			} else if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "it is a "+kind) {
				t.Errorf("%s: %v; want a sentence that names a %s", path, err, kind)
			}
		}
	}
	if _, err := Read(at("gone"), MaxBytes); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

// TestALargeFileIsRefused at one byte more than allowed.
func TestALargeFileIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "large")
	for _, most := range []int{MaxBytes, MaxSmall} {
		for more, want := range map[int]error{0: nil, 1: TooLargeError{most}} {
			if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, int64(most+more))); err != nil {
				t.Fatal(err)
			}
			f, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			n, err := io.Copy(io.Discard, Bounded(f, most))
			f.Close()
			if n != int64(most) || err != want {
				t.Errorf("of %d bytes %d were read, %v; want %v", most+more, n, err, want)
			}
		}
	}
}
