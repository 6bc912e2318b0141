package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// task is one test of one program.
type task struct {
	Name    string // as it is shown: the test's, with its program's before it where there are several
	Program string
	Test    string
	Flags   []string
}

// longest are the tests that begin first, so that no guest ends long before the other.
var longest = []string{"TestLinuxKeepsTheContract", "TestHashingIsTheSameOnEveryNode", "TestTraffic",
	"TestTrafficByRoute",
	"TestConformance", "TestKilledAtAnyMoment", "TestAPIServersFailOver", "TestTakeOverFromKubeProxy", "TestPolicy",
	"TestEverySchedulerUnderLoad", "TestEventsOfTwoNodes", "TestDeployment", "TestKubernetesAPI", "TestRollingUpdate",
	"TestChart", "TestVIPModeChangesLive", "TestDriftIsRepaired", "TestClientsOnTheNode", "TestRouteDriftIsRepaired",
	"TestTakeOverFromKubeRouter"}

// listTasks asks the programs for their tests whose names match. Only listing needs no kernel, but the programs must be
// there.
func listTasks(c config) ([]task, error) {
	var all []task
	for _, program := range c.programs {
		path, err := filepath.Abs(program)
		if err != nil {
			return nil, err
		}
		cmd := exec.Command(path, "-test.list", c.pattern)
		if c.pattern == "" {
			cmd = exec.Command(path, "-test.list", ".")
		}
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("list the tests of %s: %w", program, err)
		}
		for _, test := range strings.Fields(string(out)) {
			if !strings.HasPrefix(test, "Test") {
				continue // a benchmark or an example
			}
			t := task{Name: test, Program: path, Test: test, Flags: c.flags}
			if len(c.programs) > 1 {
				t.Name = strings.TrimSuffix(filepath.Base(program), ".test") + ":" + test
			}
			all = append(all, t)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no test of %s matches %q", strings.Join(c.programs, " "), c.pattern)
	}
	rank := func(t task) int {
		if at := slices.Index(longest, t.Test); at >= 0 {
			return at
		}
		return len(longest)
	}
	slices.SortStableFunc(all, func(a, b task) int { return rank(a) - rank(b) })
	return all, nil
}

// board is the directory by which guests take tests. A guest sees what the others have done there, and of what this
// program does meanwhile only what was there when it started: an emulated machine keeps what it has read of a
// directory.
type board struct{ dir string }

func (b board) list() string             { return filepath.Join(b.dir, "tests.json") }
func (b board) taken(name string) string { return filepath.Join(b.dir, "taken-"+name) }

// post empties the board and writes the tests to it. The board is this run's until it is closed.
func (b board) post(tasks []task) (io.Closer, error) {
	if err := os.MkdirAll(filepath.Dir(b.dir), 0o755); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(b.dir+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("another run uses %s (%w); give this one another directory by -out", filepath.Dir(b.dir), err)
	}
	if err := b.write(tasks); err != nil {
		lock.Close()
		return nil, err
	}
	return lock, nil
}

func (b board) write(tasks []task) error {
	if err := os.RemoveAll(b.dir); err != nil {
		return err
	}
	if err := os.Mkdir(b.dir, 0o755); err != nil {
		return err
	}
	text, err := json.Marshal(tasks)
	if err != nil {
		return err
	}
	return os.WriteFile(b.list(), text, 0o644)
}

func (b board) read() ([]task, error) {
	text, err := os.ReadFile(b.list())
	if err != nil {
		return nil, err
	}
	var tasks []task
	return tasks, json.Unmarshal(text, &tasks)
}

// take makes a test a guest's, unless it is another's already. A symbolic link is made at once with what it says, or
// not at all.
func (b board) take(t task, guest int) (bool, error) {
	err := os.Symlink(strconv.Itoa(guest), b.taken(t.Name))
	if errors.Is(err, os.ErrExist) {
		return false, nil
	}
	return err == nil, err
}

// owner says which guest has taken a test; 0 is none.
func (b board) owner(t task) int {
	text, err := os.Readlink(b.taken(t.Name))
	if err != nil {
		return 0
	}
	guest, _ := strconv.Atoi(text)
	return guest
}

// giveBack lets a test be taken again.
func (b board) giveBack(t task) error { return os.Remove(b.taken(t.Name)) }
