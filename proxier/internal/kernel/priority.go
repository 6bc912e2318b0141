package kernel

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// niceness of what can wait: one thread of it gets a tenth of a processor that others want, and all of it while nobody
// does.
const niceness = 10

// LowerPriority binds the calling goroutine to its thread and makes others go first on the processor for as long as the
// goroutine lives. That includes the programs that it starts. Linux has a niceness for each thread (setpriority(2),
// NOTES), and anybody may raise that.
func LowerPriority() error {
	runtime.LockOSThread()
	return unix.Setpriority(unix.PRIO_PROCESS, 0, niceness)
}

// ProcessorTime returns the processor time of the calling thread so far, and that of the programs that the process has
// started and that have ended.
func ProcessorTime() (thread, programs time.Duration) {
	return processorTime(unix.RUSAGE_THREAD), processorTime(unix.RUSAGE_CHILDREN)
}

func processorTime(who int) time.Duration {
	var used unix.Rusage
	if err := unix.Getrusage(who, &used); err != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
