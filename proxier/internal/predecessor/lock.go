package predecessor

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/internal/credentials"
)

// socket is an abstract unix socket. Its name belongs to the network namespace, as the dataplane does, and goes with
// the process that has it, however that ends. Any user of the network namespace may bind it, and whoever is first has
// it. So only root's counts. Where somebody else has it, the lock is a socket whose name begins with this one and a
// dot. Nobody can take all of these, and none can be hidden, as the kernel lists them.
const socket = "@ipvs-proxier"

// Lock is held by the one ipvs-proxier that writes to this network namespace.
type Lock struct {
	listener net.Listener
	// Distrusted names the sockets that look like the lock and are not root's, each with its holder.
	Distrusted []string
}

// Hold takes the lock. When another process of root's has it, the error names that process. Of two that start at the
// same time while somebody else has the usual name, both may be refused; never do both hold it.
func Hold() (*Lock, error) { return hold(socket, lingers) }

// lingers is how long the socket of a process that was killed may still be there. A program that it was just starting
// has a copy until its exec (iptables-save, with each audit), which takes long where processor time is short. A start
// that ended at once would wait for the kubelet's back-off.
const lingers = 3 * time.Second

// Held returns an error that names the process that has the lock; nil when nobody has it. It takes nothing.
func Held() error {
	_, err := refuse(socket, "")
	return err
}

func hold(socket string, lingers time.Duration) (*Lock, error) {
	name := socket
	listener, err := net.Listen("unix", name)
	for began := time.Now(); errors.Is(err, unix.EADDRINUSE); {
		_, refused := refuse(socket, "")
		if refused == nil {
			break
		}
		if time.Since(began) >= lingers {
			return nil, refused
		}
		time.Sleep(askPause)
		listener, err = net.Listen("unix", name)
	}
	if errors.Is(err, unix.EADDRINUSE) {
		name = socket + "." + rand.Text()
		listener, err = net.Listen("unix", name)
	}
	if err != nil {
		return nil, fmt.Errorf("unix socket %s: %w", name, err)
	}
	go func() {
		for {
			conn, err := listener.Accept() // clients that want to know our credentials need no answer
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	distrusted, err := refuse(socket, name)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return &Lock{listener, distrusted}, nil
}

// Release gives the lock up.
func (l *Lock) Release() error { return l.listener.Close() }

// How often a socket's holder is looked for, and the pause between. A socket that is bound and does not listen, or
// whose queue is full, is tried again: its process may be about to listen. All are tried in turn, so that many cost no
// more waiting than one.
const (
	asks     = 20
	askPause = 10 * time.Millisecond
)

// refuse returns an error when root, or our own user, holds one of the sockets that are the lock, except ours. Those
// that others hold are returned.
func refuse(socket, ours string) (distrusted []string, err error) {
	names, err := sockets(socket)
	if err != nil {
		return nil, err
	}
	for try := range asks {
		if try > 0 {
			time.Sleep(askPause)
		}
		var silent []string
		for _, name := range names {
			if name == ours {
				continue
			}
			peer := holder(name)
			switch {
			case peer == nil:
				silent = append(silent, name)
			case peer.Uid == 0 || int(peer.Uid) == os.Getuid():
				return nil, fmt.Errorf(
					"another ipvs-proxier%s runs in this network namespace (it holds the unix socket %s); two would undo each other's work: end that one first",
					ofProcess(peer), name,
				)
			default:
				distrusted = append(distrusted, fmt.Sprintf("%q held by user %d%s", name, peer.Uid, ofProcess(peer)))
			}
		}
		if names = silent; len(names) == 0 {
			break
		}
	}
	for _, name := range names {
		if still, err := sockets(name); err != nil || !slices.Contains(still, name) {
			continue // it is gone
		}
		distrusted = append(distrusted, fmt.Sprintf("%q held by a process that does not answer", name))
	}
	slices.Sort(distrusted)
	return distrusted, nil
}

// sockets returns the unix sockets of our network namespace that have the name, or one that begins with it and a dot,
// each once. The name is the last column of /proc/net/unix. There "@" stands for the byte 0, which begins the abstract
// ones (net/unix/af_unix.c, unix_seq_show, Linux 6.1).
func sockets(name string) ([]string, error) {
	text, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		return nil, fmt.Errorf("look for another ipvs-proxier: %w", err)
	}
	return socketsIn(string(text), name), nil
}

// socketsIn reads them out of what the kernel lists.
func socketsIn(text, name string) (names []string) {
	for line := range strings.Lines(text) {
		_, rest, found := strings.Cut(strings.TrimSuffix(line, "\n"), " "+name)
		if found && (rest == "" || rest[0] == '.') {
			names = append(names, name+rest)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// holder returns the credentials of the process that listens on the socket, as they were when it began to listen
// (unix(7), SO_PEERCRED). It is nil when none does.
func holder(name string) *unix.Ucred {
	conn, err := net.Dial("unix", name)
	if err != nil {
		return nil
	}
	defer conn.Close()
	peer, err := credentials.Of(conn)
	if err != nil {
		return nil
	}
	return peer
}

// ofProcess returns " (pid 17)", or "" when the kernel does not show it, as for a process of another PID namespace.
func ofProcess(peer *unix.Ucred) string {
	if peer.Pid == 0 {
		return ""
	}
	return fmt.Sprintf(" (pid %d)", peer.Pid)
}
