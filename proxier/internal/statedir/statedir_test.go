package statedir

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOneAtATime has the directory.
func TestOneAtATime(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	first, err := Hold(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Hold(dir); err == nil || !strings.Contains(err.Error(), "another process has "+dir) {
		t.Errorf("the second one: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	next, err := Hold(dir)
	if err != nil {
		t.Fatalf("after the first one: %v", err)
	}
	next.Close()
}

// TestWhatIsNoFile is neither followed nor waited for.
func TestWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	target, link, pipe, large := filepath.Join(dir, "t"), filepath.Join(dir, "l"), filepath.Join(dir,
		"p"), filepath.Join(dir, "f")
	for _, err := range []error{
		os.WriteFile(target, []byte("x"), 0o600), os.Symlink(target, link), unix.Mkfifo(pipe, 0o600),
		os.WriteFile(large, []byte("12345"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{link, pipe, large, dir} {
		if text, err := Read(path, 4); err == nil {
			t.Errorf("%s is read: %q", path, text)
		}
	}
	for _, path := range []string{link, pipe} {
		if f, err := Append(path); err == nil {
			t.Errorf("%s is written", path)
			f.Close()
		}
	}
	if text, err := Read(large, 5); err != nil || string(text) != "12345" {
		t.Errorf("a file of the size that is allowed: %q, %v", text, err)
	}
}
