package kernel

import (
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The raw system call returns 20 less the niceness.
func nicenessHere(t *testing.T) int {
	t.Helper()
	raw, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		t.Fatal(err)
	}
	return 20 - raw
}

func TestStandBackIsForOneGoroutineAndItsPrograms(t *testing.T) {
	usual := nicenessHere(t)
	done := make(chan string)
	go func() {
		if err := LowerPriority(); err != nil {
			done <- err.Error()
			return
		}
		out, err := exec.Command("nice").Output()
		if err != nil {
			done <- err.Error()
			return
		}
		if here := nicenessHere(t); here != niceness {
			t.Errorf("niceness %d, want %d", here, niceness)
		}
		done <- strings.TrimSpace(string(out))
	}()
	if program := <-done; program != "10" {
		t.Errorf("a program of it says %q, want 10", program)
	}
	if after := nicenessHere(t); after != usual {
		t.Errorf("niceness %d of another goroutine, want %d", after, usual)
	}
}

func TestSpent(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, programs := ProcessorTime()
	for began, now := time.Now(), before; now == before; now, _ = ProcessorTime() {
		if time.Since(began) > 20*time.Second {
			t.Fatal("twenty seconds are not noticed")
		}
	}
	if err := exec.Command("sh", "-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done").Run(); err != nil {
		t.Fatal(err)
	}
	if _, now := ProcessorTime(); now == programs {
		t.Error("a program's time is not counted")
	}
}
