package kernel

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// expireNodest makes the kernel end the connections of a real server whose packet finds it gone.
const expireNodest = "net.ipv4.vs.expire_nodest_conn"

// expiry switches expireNodest off for a moment. Its lock is held while it is off: a Reader that reads the parameter
// meanwhile would take that for a change. The file is opened once, in the network namespace to which it belongs from
// then on: a change of an endpoint costs three system calls here, and not fifteen.
type expiry struct {
	sync.Mutex
	fd     int
	opened bool
}

// off switches it off where it is on, and returns what switches it on again. The lock must be held until then. Should
// that fail, an audit finds it.
func (e *expiry) off() (on func(), err error) {
	value, err := e.value()
	if err != nil || value == "0" {
		return func() {}, nil // a kernel without it does not do it
	}
	if err := e.set("0"); err != nil {
		return nil, fmt.Errorf("write 0: %w (%s; in force is what the kernel has)", err, whyNot(expireNodest, err))
	}
	return func() { _ = e.set(value) }, nil
}

func (e *expiry) value() (string, error) {
	if !e.opened {
		var err error
		for _, root := range []string{"", hostRoot} {
			if e.fd, err = unix.Open(root+sysctlPath(expireNodest), unix.O_RDWR|unix.O_CLOEXEC, 0); !errors.Is(err, unix.EROFS) {
				break
			}
		}
		if err != nil {
			return readSysctl(expireNodest) // to write it fails, and says why
		}
		e.opened = true
	}
	buf := make([]byte, 16)
	n, err := unix.Pread(e.fd, buf, 0)
	return strings.TrimSpace(string(buf[:max(n, 0)])), err
}

func (e *expiry) set(value string) error {
	if !e.opened {
		return writeSysctl(expireNodest, value)
	}
	_, err := unix.Pwrite(e.fd, []byte(value), 0)
	return err
}

// close may be called again.
func (e *expiry) close() error {
	e.Lock()
	defer e.Unlock()
	if !e.opened {
		return nil
	}
	e.opened = false
	return unix.Close(e.fd)
}
