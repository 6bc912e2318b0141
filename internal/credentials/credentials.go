// Package credentials returns the credentials of the process at the other end of a unix socket.
package credentials

import (
	"fmt"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// Of returns the process, user and group at the other end: a client's when it connected, a server's when it began to
// listen (unix(7), SO_PEERCRED). The pid is 0 for a process that this PID namespace does not show.
func Of(c net.Conn) (peer *unix.Ucred, err error) {
	with, is := c.(syscall.Conn)
	if !is {
		return nil, fmt.Errorf("BUG: %T is no connection of the kernel's", c)
	}
	raw, err := with.SyscallConn()
	if err != nil {
		return nil, err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) {
		peer, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return nil, err
	}
	return peer, failed
}
