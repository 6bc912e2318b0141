package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// job is what is to be run, wherever it runs. It is handed to the guest's init as JSON.
type job struct {
	Command  []string
	Dir      string   // working directory
	Env      []string // what is passed on of the environment
	Path     string   // PATH
	Shares   []share  // directories of the host that the command sees as they are, parents before children
	Kernel   kind
	Control  string // the directory by which a booted guest and the host speak
	Modules  string // where modprobe finds the guest kernel's modules: below lib/modules in there
	Mem      string // of a booted machine
	Iptables iptables
}

// share is a directory of the host below which nothing is hidden.
type share struct {
	Dir   string
	Write bool
}

// hidden are the directories that are empty, writable and gone afterwards wherever a command runs. All else is the
// machine's own, read-only.
var hidden = []string{"/run", "/tmp", "/var/tmp", "/var/lib", "/var/log"}

// newJob describes a command that is run in the current directory and may write to some.
func newJob(command, write []string) (job, error) {
	dir, err := os.Getwd()
	if err != nil {
		return job{}, err
	}
	j := job{Command: command, Dir: dir, Path: searchPath(os.Getenv("PATH"))}
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); passedOn(name) {
			j.Env = append(j.Env, kv)
		}
	}
	for _, name := range write {
		path, err := filepath.Abs(name)
		if err != nil {
			return job{}, err
		}
		if info, err := os.Stat(path); err != nil || !info.IsDir() {
			return job{}, fmt.Errorf("--write %s: must be a directory that is there", name)
		}
		j.share(path, true)
	}
	j.show(dir)
	if _, err := os.Stat(guestDir); err == nil {
		j.show(guestDir) // lab runs in a guest of lab's
	}
	return j, nil
}

// share adds a directory. The same directory twice is one share, writable if either was.
func (j *job) share(dir string, write bool) {
	at, found := slices.BinarySearchFunc(j.Shares, dir,
		func(s share, dir string) int { return strings.Compare(s.Dir, dir) })
	if found {
		j.Shares[at].Write = j.Shares[at].Write || write
		return
	}
	j.Shares = slices.Insert(j.Shares, at, share{Dir: dir, Write: write})
}

// show makes a directory visible, read-only, in case it lies where things are hidden.
func (j *job) show(dir string) {
	for _, h := range hidden {
		if below(dir, h) {
			j.share(dir, false)
		}
	}
}

func below(dir, ancestor string) bool { return strings.HasPrefix(dir, ancestor+"/") }

// passedOn says which variables of the environment the command sees.
func passedOn(name string) bool {
	for _, prefix := range []string{"IPVSP_", "LAB_", "TEST_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return name == "TERM" || name == "CI"
}

// searchPath is the caller's PATH, with the system's directories at the end where it lacks them.
func searchPath(path string) string {
	var dirs []string
	for _, dir := range append(filepath.SplitList(path), systemDirs...) {
		if filepath.IsAbs(dir) && !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return strings.Join(dirs, ":")
}

func (j job) save() error {
	text, err := json.Marshal(j)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(j.Control, jobFile), text, 0o600)
}

func parseJob(text []byte) (job, error) {
	var j job
	if err := json.Unmarshal(text, &j); err != nil {
		return job{}, fmt.Errorf("read the job: %w", err)
	}
	if len(j.Command) == 0 {
		return job{}, fmt.Errorf("BUG: a job without a command")
	}
	return j, nil
}
