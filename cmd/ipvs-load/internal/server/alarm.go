package server

import (
	"container/heap"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// alarm wakes sleepers to some ten microseconds. A Go timer in an otherwise idle process is only as exact as
// epoll_wait, which counts whole milliseconds; a delay of 1 ms would come out as anything up to 2. One timerfd, always
// set to the earliest sleeper, has no such grain.
type alarm struct {
	file  *os.File
	began time.Time

	mu       sync.Mutex
	sleepers sleepers
	closed   bool
}

type sleeper struct {
	at   time.Duration
	wake chan bool
}

func newAlarm() (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create a timer: %w", err)
	}
	a := &alarm{file: os.NewFile(uintptr(fd), "timerfd"), began: time.Now()}
	go a.run()
	return a, nil
}

// sleep returns true after d, and false at once when the alarm is closed.
func (a *alarm) sleep(d time.Duration) bool {
	s := sleeper{at: time.Since(a.began) + d, wake: make(chan bool, 1)}
	a.mu.Lock()
	if a.closed {
		a.mu.Unlock()
		return false
	}
	heap.Push(&a.sleepers, s)
	if a.sleepers[0].wake == s.wake {
		a.set()
	}
	a.mu.Unlock()
	return <-s.wake
}

// set winds the timer for the earliest sleeper; the lock is held.
func (a *alarm) set() {
	left := max(a.sleepers[0].at-time.Since(a.began), 1) // 0 would switch it off
	raw, err := a.file.SyscallConn()
	if err != nil {
		return // closed: close wakes everyone
	}
	_ = raw.Control(func(fd uintptr) {
		spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(left))}
		_ = unix.TimerfdSettime(int(fd), 0, &spec, nil)
	})
}

// run wakes whoever is due each time the timer expires, until it is closed.
func (a *alarm) run() {
	var expirations [8]byte
	for {
		if _, err := a.file.Read(expirations[:]); err != nil {
			return
		}
		a.mu.Lock()
		now := time.Since(a.began)
		for len(a.sleepers) > 0 && a.sleepers[0].at <= now {
			heap.Pop(&a.sleepers).(sleeper).wake <- true
		}
		if len(a.sleepers) > 0 {
			a.set()
		}
		a.mu.Unlock()
	}
}

func (a *alarm) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	for _, s := range a.sleepers {
		s.wake <- false
	}
	a.sleepers = nil
	a.file.Close()
}

// sleepers is a heap, the earliest first.
type sleepers []sleeper

func (s sleepers) Len() int           { return len(s) }
func (s sleepers) Less(i, j int) bool { return s[i].at < s[j].at }
func (s sleepers) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }
func (s *sleepers) Push(x any)        { *s = append(*s, x.(sleeper)) }
func (s *sleepers) Pop() any {
	old := *s
	last := old[len(old)-1]
	*s = old[:len(old)-1]
	return last
}
