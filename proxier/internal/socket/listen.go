package socket

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/internal/credentials"
)

// MaxPath is how many bytes the path of a socket may have: sun_path has 108, the last of which is a zero (unix(7)).
const MaxPath = 107

// mode lets nobody but the owner connect, which takes the right to write (unix(7)).
const mode = 0o600

// asking is how long a socket that is there already may take to say whether anybody listens on it. The kernel answers
// at once, unless the other side's queue is full.
const asking = time.Second

// Listen opens the socket for connections of the user uid. It makes the directory where that is missing, and replaces
// the socket of a process that has ended. One that a living process listens on is left alone, as is whatever is no
// socket; the error names it. Close removes the file.
func Listen(path string, uid int) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("the directory of the socket: %w", err)
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	// The file gets the mode of the socket's own inode, so that it is never there with another one
	// (net/unix/af_unix.c, unix_bind_bsd, Linux 6.12).
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var failed error
		if err := raw.Control(func(fd uintptr) { failed = unix.Fchmod(int(fd), mode) }); err != nil {
			return err
		}
		return failed
	}}
	l, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	return &listener{Listener: l, uid: uid}, nil
}

// removeStale removes a socket that nobody listens on.
func removeStale(path string) error {
	found, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case found.Mode().Type() != os.ModeSocket:
		return fmt.Errorf("%s is there already, and is no socket: remove it, or choose another path", path)
	}
	c, err := net.DialTimeout("unix", path, asking)
	switch {
	case err == nil:
		defer c.Close()
		who := "another process"
		if peer, err := credentials.Of(c); err == nil {
			who = fmt.Sprintf("the process %d of the user %d", peer.Pid, peer.Uid)
		}
		return fmt.Errorf("%s listens on %s already: end it, or choose another path", who, path)
	case errors.Is(err, unix.ECONNREFUSED): // nobody has it open
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove the socket of a process that has ended: %w", err)
		}
		return nil
	case errors.Is(err, os.ErrNotExist):
		return nil
	}
	return fmt.Errorf("find the listener on %s: %w", path, err)
}

// listener accepts the connections of one user.
type listener struct {
	net.Listener
	uid int
}

// Accept implements net.Listener. A connection of somebody else is closed: the file's mode has kept it out already,
// unless someone has changed that, or has handed an open socket on.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if peer, err := credentials.Of(c); err == nil && int64(peer.Uid) == int64(l.uid) {
			return c, nil
		}
		c.Close()
	}
}
