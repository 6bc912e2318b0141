package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// Each lab looks for orphans before it makes its own control directory, and must not take one that is being made for an
// orphan: flock belongs to the open file, so that labs of one process are as strange to each other as those of several.
func TestLabsThatStartAtOnceKeepTheirControlDirectories(t *testing.T) {
	const labs, rounds = 20, 50
	t.Setenv("TMPDIR", t.TempDir())
	for range rounds {
		var all sync.WaitGroup
		start := make(chan struct{})
		for lab := range labs {
			all.Go(func() {
				<-start
				status, err := withControl(job{Command: []string{"true"}}, func(j job) (int, error) {
					text, err := os.ReadFile(filepath.Join(j.Control, jobFile))
					if err != nil {
						return 0, err
					}
					if err := os.WriteFile(filepath.Join(j.Control, statusFile), fmt.Append(nil, lab), 0o600); err != nil {
						return 0, err
					}
					removeOrphans(os.TempDir())
					if _, err := parseJob(text); err != nil {
						return 0, err
					}
					return readStatus(j.Control)
				})
				if err != nil || status != lab {
					t.Errorf("lab %d: %d, %v", lab, status, err)
				}
			})
		}
		close(start)
		all.Wait()
		if t.Failed() {
			break
		}
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestOnlyOrphansAreRemoved(t *testing.T) {
	temp := t.TempDir()
	mkdir := func(name string) string {
		dir := filepath.Join(temp, name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	alive, orphan, foreign := mkdir("lab-1"), mkdir("lab-2"), mkdir("lab-3")
	held, err := lock(filepath.Join(alive, lockFile), os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	left, err := lock(filepath.Join(orphan, lockFile), os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	left.Close()
	removeOrphans(temp)
	for dir, want := range map[string]bool{alive: true, orphan: false, foreign: true} {
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("%s: want it there: %t, got %v", dir, want, err)
		}
	}
}

// What another lab removes while it is locked is not held, although its lock is.
func TestALockOnAFileThatIsGoneIsNone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := stillThere(file, path); err != nil {
		t.Errorf("want the file to be found, got %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := stillThere(file, path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("want it missed, got %v", err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := stillThere(file, path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("want an error for another file of the name, got %v", err)
	}
}
