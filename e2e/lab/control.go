package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The files of the control directory, by which a booted guest and the host speak.
const (
	jobFile    = "job.json" // host to guest
	statusFile = "status"   // guest to host: the command's exit status, or nothing when the guest failed
	lockFile   = "lock"     // locked while its lab is alive
)

const controlPrefix = "lab-"

// withControl makes the control directory, puts the job into it, and removes it when the guest is gone.
func withControl(j job, boot func(job) (int, error)) (int, error) {
	removeOrphans(os.TempDir())
	control, lock, err := makeControl()
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(control)
	defer lock.Close()
	j.Control = control
	j.share(control, true)
	if err := j.save(); err != nil {
		return 0, err
	}
	return boot(j)
}

// makeControl makes a control directory and locks it. A lab that starts at the same moment may find the lock's file
// before it is locked, and take the directory for an orphan: then another directory is made.
func makeControl() (string, *os.File, error) {
	for {
		control, err := os.MkdirTemp("", controlPrefix)
		if err != nil {
			return "", nil, err
		}
		path := filepath.Join(control, lockFile)
		file, err := lock(path, os.O_CREATE)
		if err == nil {
			if err = stillThere(file, path); err == nil {
				return control, file, nil
			}
			file.Close()
		}
		if taken := errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, os.ErrNotExist); !taken {
			os.RemoveAll(control)
			return "", nil, err
		}
	}
}

// stillThere says whether a path leads to an open file.
func stillThere(file *os.File, path string) error {
	held, err := file.Stat()
	if err != nil {
		return err
	}
	found, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !os.SameFile(held, found) {
		return fmt.Errorf("%s: another file is there now: %w", path, os.ErrNotExist)
	}
	return nil
}

// removeOrphans removes the control directories of labs that were killed before they could do it. What cannot be
// removed is of no harm.
func removeOrphans(temp string) {
	locks, _ := filepath.Glob(filepath.Join(temp, controlPrefix+"*", lockFile))
	for _, path := range locks {
		if lock, err := lock(path, 0); err == nil {
			os.RemoveAll(filepath.Dir(path))
			lock.Close()
		}
	}
}

// lock opens and locks a file, or fails at once when another process has it locked.
func lock(path string, create int) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|create, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

func readStatus(control string) (int, error) {
	text, err := os.ReadFile(filepath.Join(control, statusFile))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}
