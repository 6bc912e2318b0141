package main

import (
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
	control, err := os.MkdirTemp("", controlPrefix)
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(control)
	lock, err := lock(filepath.Join(control, lockFile), os.O_CREATE)
	if err != nil {
		return 0, err
	}
	defer lock.Close()
	j.Control = control
	j.share(control, true)
	if err := j.save(); err != nil {
		return 0, err
	}
	return boot(j)
}

// removeOrphans removes the control directories of labs that were killed before they could do it. What cannot be removed is
// of no harm.
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
