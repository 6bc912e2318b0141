package engine

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Negative values of an event's slot stand for what is not a request.
const (
	slotTimer  = -1
	slotWake   = -2
	slotShared = -3 // and below: shared UDP socket n is slotShared-n

	// Of connections that stay: number n is slotConn-n. There are fewer shared sockets than lie between.
	slotConn = -1 << 24
)

// poller is an epoll set with an exact alarm.
//
// The alarm is a timerfd. The timeout of epoll_wait, and with it Go's own timers when a process is idle, counts whole
// milliseconds, and epoll_pwait2 (Linux 5.11) is subject to the thread's timer slack of 50 µs; a timerfd is a plain
// high-resolution timer on every kernel. Spinning for the last microseconds would be more exact still, but it would
// take the processor that, on a small machine, the target needs for its answer: the instrument would slow down what it
// measures. So the alarm may ring some ten microseconds late, and how late is measured and reported.
type poller struct {
	epoll, timer, wake int
	events             [256]unix.EpollEvent
}

func newPoller() (*poller, error) {
	p := &poller{epoll: -1, timer: -1, wake: -1}
	var err error
	if p.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("create an epoll set: %w", err)
	}
	if p.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC); err != nil {
		p.close()
		return nil, fmt.Errorf("create a timer: %w", err)
	}
	if p.wake, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		p.close()
		return nil, fmt.Errorf("create an eventfd: %w", err)
	}
	// Edge triggered, so that neither ever needs to be read: setting the timer again takes its expiry back.
	if err := errors.Join(
		p.add(p.timer, slotTimer, 0, unix.EPOLLIN), p.add(p.wake, slotWake, 0, unix.EPOLLIN),
	); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// add watches fd, edge triggered. Closing the descriptor ends that.
func (p *poller) add(fd, slot int, generation uint32, events uint32) error {
	e := unix.EpollEvent{Events: events | unix.EPOLLET, Fd: int32(slot), Pad: int32(generation)}
	return unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &e)
}

// wait returns the events that are there or, when there are none, the first to come within d. A d of 0 or less does
// not sleep.
func (p *poller) wait(d time.Duration) ([]unix.EpollEvent, error) {
	timeout := 0
	if d > 0 {
		timeout = -1
		// A relative time, because reading CLOCK_MONOTONIC for an absolute one would be a system call more.
		spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
		if err := unix.TimerfdSettime(p.timer, 0, &spec, nil); err != nil {
			return nil, fmt.Errorf("set a timer to %v: %w", d, err)
		}
	}
	n, err := unix.EpollWait(p.epoll, p.events[:], timeout)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return nil, fmt.Errorf("wait for events: %w", err)
	}
	return p.events[:max(n, 0)], nil
}

// interrupt ends a wait, from any goroutine.
func (p *poller) interrupt() {
	one := [8]byte{1}
	_, _ = unix.Write(p.wake, one[:]) // fails only when the counter is full, and then the loop has been woken
}

func (p *poller) close() {
	for _, fd := range []int{p.epoll, p.timer, p.wake} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}
