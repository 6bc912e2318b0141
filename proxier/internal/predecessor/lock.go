package predecessor

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// socket is an abstract unix socket. Its name belongs to the network namespace, as the dataplane does, and goes with the
// process that has it, however that ends.
const socket = "@ipvs-proxier"

// Lock is held by the one ipvs-proxier that writes to this network namespace.
type Lock struct{ listener net.Listener }

// Hold takes the lock. When another process has it, the error names that process.
func Hold() (*Lock, error) { return hold(socket) }

func hold(socket string) (*Lock, error) {
	listener, err := net.Listen("unix", socket)
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, fmt.Errorf("another ipvs-proxier%s runs in this network namespace (it holds the unix socket %s); two would undo each other's work: end that one first", holder(socket), socket)
	}
	if err != nil {
		return nil, fmt.Errorf("unix socket %s: %w", socket, err)
	}
	go func() {
		for {
			conn, err := listener.Accept() // those who ask who we are need no answer
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	return &Lock{listener}, nil
}

// Release gives the lock up.
func (l *Lock) Release() error { return l.listener.Close() }

// holder returns " (pid 17)", or "" when the kernel does not tell, as for a process of another PID namespace.
func holder(socket string) string {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return ""
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return ""
	}
	var peer *syscall.Ucred
	if err := raw.Control(func(fd uintptr) {
		peer, _ = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); err != nil || peer == nil || peer.Pid == 0 {
		return ""
	}
	return fmt.Sprintf(" (pid %d)", peer.Pid)
}
