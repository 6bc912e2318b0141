package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestMain lets the tests' program be the guard that boot starts: it starts itself anew.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == guardArg {
		os.Exit(guard(os.Args[2:]))
	}
	os.Exit(m.Run())
}

func TestConsolePassesOnlyTheCommandsLines(t *testing.T) {
	var out strings.Builder
	c := newConsole(&out)
	for _, piece := range []string{"booting\r\nlab: rea", "dy\r", "\nhello\r\nwor", "ld", "lab: over\r\nHalting.\r\n"} {
		c.Write([]byte(piece))
	}
	if want := "hello\nworld\n"; out.String() != want {
		t.Errorf("want %q, got %q", want, out.String())
	}
	c.flush()
	select {
	case <-c.ready:
	default:
		t.Error("want ready to be closed by the announcement")
	}
}

func TestConsoleLosesNoUnfinishedLine(t *testing.T) {
	var out strings.Builder
	c := newConsole(&out)
	c.Write([]byte("lab: ready\npanic in the mid"))
	c.flush()
	if want := "panic in the mid\n"; out.String() != want {
		t.Errorf("want %q, got %q", want, out.String())
	}
}

func TestTheLastLinesOfADeadGuestsConsoleAreTold(t *testing.T) {
	c := newConsole(io.Discard)
	fmt.Fprintln(c, announcement)
	for n := range 1000 {
		fmt.Fprintln(c, "line", n)
	}
	io.WriteString(c, "Kernel panic")
	c.flush()
	var text strings.Builder
	c.writeLast(&text, "")
	lines := strings.Split(strings.TrimSpace(text.String()), "\n")
	if len(lines) != lastLines+2 || lines[lastLines] != "  Kernel panic" || lines[lastLines-1] != "  line 999" {
		t.Errorf("want the last %d lines and that the program said nothing, got\n%s", lastLines, text.String())
	}
}

func guestJob(t *testing.T, status string) job {
	t.Helper()
	j := job{Command: []string{"true"}, Control: t.TempDir()}
	if status != "" {
		if err := os.WriteFile(filepath.Join(j.Control, statusFile), []byte(status), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return j
}

func TestBootReturnsTheStatusThatTheGuestLeft(t *testing.T) {
	needRoot(t)
	status, err := boot(context.Background(), guestJob(t, "7\n"), exec.Command("true"))
	if status != 7 || err != nil {
		t.Errorf("want 7, got %d, %v", status, err)
	}
}

// User-Mode Linux ends in this way when its kernel panics. A namespace's first process would survive it.
func TestBootNoticesAGuestThatAborts(t *testing.T) {
	needRoot(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := boot(
		ctx, guestJob(t, ""), exec.Command("sh", "-c", "while :; do kill -ABRT $$; done"),
	); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("want the guest to be noticed as gone, got %v", err)
	}
}

func TestBootFailsWithoutAStatus(t *testing.T) {
	needRoot(t)
	_, err := boot(context.Background(), guestJob(t, ""), exec.Command("true"))
	if err == nil || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("want an error about the missing status, got %v", err)
	}
}

// The guest of these tests leaves a trace at each of its starts.
func TestAGuestThatDiesInBootIsStartedOnceMore(t *testing.T) {
	needRoot(t)
	for name, c := range map[string]struct {
		script string
		status int
		starts int
		wrong  string
	}{
		"the second start succeeds":          {`[ -e $STARTS.2 ] && { echo lab: ready; echo 5 >$STATUS; }`, 5, 2, ""},
		"the second dies, too":               {`echo Kernel panic; exit 1`, 0, 2, "did not get as far as the command"},
		"it dies when the command has begun": {`echo lab: ready; exit 1`, 0, 1, "the guest died"},
	} {
		j := guestJob(t, "")
		starts := filepath.Join(t.TempDir(), "start")
		guest := exec.Command("sh", "-c", `if [ -e $STARTS.1 ]; then touch $STARTS.2; else touch $STARTS.1; fi; `+c.script)
		guest.Env = append(os.Environ(), "STARTS="+starts, "STATUS="+filepath.Join(j.Control, statusFile))
		status, err := boot(t.Context(), j, guest)
		if status != c.status || (err == nil) != (c.wrong == "") || (err != nil && !strings.Contains(err.Error(), c.wrong)) {
			t.Errorf("%s: want %d and %q, got %d, %v", name, c.status, c.wrong, status, err)
		}
		if found, _ := filepath.Glob(starts + ".*"); len(found) != c.starts {
			t.Errorf("%s: want %d starts, got %q", name, c.starts, found)
		}
	}
}

// The clock of these two tests is synctest's, which jumps.
func TestAGuestThatHangsInBootIsKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		killed := make(chan error, 1)
		err := wait(t.Context(), time.Minute, make(chan struct{}), killed, func() { killed <- nil })
		if err == nil || !strings.Contains(err.Error(), "killed after 1m0s") {
			t.Errorf("want an error that says so, got %v", err)
		}
	})
}

func TestAGuestThatHasBootedMayTakeItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ready, ended := make(chan struct{}), make(chan error)
		close(ready)
		time.AfterFunc(time.Hour, func() { ended <- nil })
		err := wait(t.Context(), time.Minute, ready, ended, func() {
			t.Error("killed")
			go func() { ended <- nil }()
		})
		if err != nil {
			t.Error(err)
		}
	})
}

func TestBytesOf(t *testing.T) {
	for size, want := range map[string]uint64{
		"3G": 3 << 30, "512m": 512 << 20, "64K": 64 << 10, "4096": 4096, "much": 0, "": 0,
	} {
		if got := bytesOf(size); got != want {
			t.Errorf("%q: want %d, got %d", size, want, got)
		}
	}
}

// A guest that ignores signals and has a child in a session of its own is the worst case: both must be gone when boot
// returns.
func TestBootLeavesNothingBehind(t *testing.T) {
	needRoot(t)
	j := guestJob(t, "")
	started := filepath.Join(j.Control, "started")
	ctx, cancel := context.WithCancelCause(context.Background())
	signal := errors.New("a signal")
	go func() {
		for {
			if _, err := os.Stat(started); err == nil {
				cancel(signal)
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	script := "trap '' INT TERM HUP; setsid sleep 1000 & touch " + started + "; wait"
	cmd := exec.Command("sh", "-c", script)
	mark := "LAB_TEST_MARK=" + j.Control
	cmd.Env = append(os.Environ(), mark)
	if _, err := boot(ctx, j, cmd); !errors.Is(err, signal) {
		t.Errorf("want the reason of the end, got %v", err)
	}
	if left := processesWith(t, mark); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
}

// processesWith returns the processes that have a word in their environment. Zombies have no environment any more.
func processesWith(t *testing.T, word string) []string {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, path := range all {
		if environ, err := os.ReadFile(path); err == nil && bytes.Contains(environ, []byte(word+"\x00")) {
			found = append(found, path)
		}
	}
	return found
}

// needRoot skips a test that makes a process namespace.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can make a process namespace")
	}
}

func TestJobSharesParentsBeforeChildrenAndOnce(t *testing.T) {
	var j job
	j.share("/tmp/tree/out", true)
	j.share("/tmp/tree", false)
	j.share("/srv", true)
	j.share("/tmp/tree/out", false)
	want := []share{{"/srv", true}, {"/tmp/tree", false}, {"/tmp/tree/out", true}}
	if !slices.Equal(j.Shares, want) {
		t.Errorf("want %v, got %v", want, j.Shares)
	}
}

func TestJobShowsOnlyWhatIsHidden(t *testing.T) {
	var j job
	for _, dir := range []string{"/srv/tree", "/tmp/tree", "/var/library", "/tmp"} {
		j.show(dir)
	}
	if want := []share{{"/tmp/tree", false}}; !slices.Equal(j.Shares, want) {
		t.Errorf("want %v, got %v", want, j.Shares)
	}
}

func TestJobTravelsUnchanged(t *testing.T) {
	t.Setenv("IPVSP_X", "it's\n$HOME")
	t.Setenv("SECRET_TOKEN", "x")
	j, err := newJob([]string{"echo", "a b", "it's"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	j.Control = t.TempDir()
	if err := j.save(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(j.Control, jobFile))
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseJob(text)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.Command, j.Command) || got.Dir != j.Dir {
		t.Errorf("want %v in %s, got %v in %s", j.Command, j.Dir, got.Command, got.Dir)
	}
	if !slices.Contains(got.Env, "IPVSP_X=it's\n$HOME") || slices.Contains(got.Env, "SECRET_TOKEN=x") {
		t.Errorf("want our variables passed on and no others, got %q", got.Env)
	}
}

func TestJobWantsDirectoriesToWrite(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	if _, err := newJob([]string{"true"}, []string{missing}); err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("want an error that names %s, got %v", missing, err)
	}
}

func TestSearchPathAddsTheSystemsDirectories(t *testing.T) {
	got := searchPath("/opt/go/bin:/usr/bin::relative:/opt/go/bin")
	if want := "/opt/go/bin:/usr/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin:/bin"; got != want {
		t.Errorf("want %s, got %s", want, got)
	}
}
