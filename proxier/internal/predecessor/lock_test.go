package predecessor

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// testSocket returns the name of a lock of the test's own.
func testSocket(t *testing.T) string {
	return fmt.Sprintf("%s-test-%d-%s", socket, os.Getpid(), t.Name())
}

// TestOnlyOneHoldsTheLock; the next one may when the first has let go.
func TestOnlyOneHoldsTheLock(t *testing.T) {
	name := testSocket(t)
	first, err := hold(name, 0)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		want := fmt.Sprintf("another ipvs-proxier (pid %d) runs", os.Getpid())
		if _, err := hold(name, 0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the second: %v", err)
		}
	}
	if err := first.Release(); err != nil {
		t.Fatal(err)
	}
	second, err := hold(name, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Release(); err != nil {
		t.Error(err)
	}
}

// TestTheLockOfADeadProcessIsWaitedFor: a socket that is there at the first try, and gone a moment later, keeps nobody
// out.
func TestTheLockOfADeadProcessIsWaitedFor(t *testing.T) {
	name := testSocket(t)
	dying, err := net.Listen("unix", name)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		if conn, err := dying.Accept(); err == nil { // it was tried
			conn.Close()
		}
		dying.Close()
	}()
	lock, err := hold(name, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.Release(); err != nil {
		t.Error(err)
	}
}

const nobody = 65534

// asNobody calls do on a thread of the user nobody. SO_PEERCRED has the credentials of the thread that listens.
func asNobody(t *testing.T, do func()) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can be another user")
	}
	var wait sync.WaitGroup
	wait.Go(func() {
		runtime.LockOSThread() // and never unlock: the thread ends with the goroutine
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 {
			t.Errorf("become nobody: %v", errno)
			return
		}
		do()
	})
	wait.Wait()
}

// squat has nobody bind the names, and listen there where it is said.
func squat(t *testing.T, listen bool, names ...string) {
	asNobody(t, func() {
		for _, name := range names {
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err == nil {
				t.Cleanup(func() { unix.Close(fd) })
				err = unix.Bind(fd, &unix.SockaddrUnix{Name: name})
			}
			if err == nil && listen {
				err = unix.Listen(fd, 64)
			}
			if err != nil {
				t.Error(name, err)
			}
		}
	})
}

// TestTheLockIsRoots: a user who has the names first keeps nobody out, and does not let in two.
func TestTheLockIsRoots(t *testing.T) {
	for name, c := range map[string]struct {
		listen bool
		held   string
	}{
		"listens":    {true, "held by user 65534"},
		"only binds": {false, "does not answer"},
	} {
		t.Run(name, func(t *testing.T) {
			socket := strings.ReplaceAll(testSocket(t), "/", "-")
			squat(t, c.listen, socket, socket+".1", socket+".2", socket+"x")
			if _, err := refuse(socket, ""); err != nil {
				t.Errorf("nobody's sockets count: %v", err)
			}
			first, err := hold(socket, 0)
			if err != nil {
				t.Fatal(err)
			}
			text := strings.Join(first.Distrusted, "\n")
			if len(first.Distrusted) != 3 || strings.Count(text, c.held) != 3 || !strings.Contains(text, socket+".2") {
				t.Errorf("distrusted: %s", text)
			}
			if _, err := hold(socket, 0); err == nil || !strings.Contains(err.Error(), "another ipvs-proxier") {
				t.Errorf("the second: %v", err)
			}
			if _, err := refuse(socket, ""); err == nil {
				t.Error("a look does not find the first")
			}
			if err := first.Release(); err != nil {
				t.Fatal(err)
			}
			second, err := hold(socket, 0)
			if err != nil {
				t.Fatal(err)
			}
			second.Release()
		})
	}
}

// TestTheLockOutlivesTheSquatter: a process that started beside a squatter keeps out the next one when the usual name
// is free again.
func TestTheLockOutlivesTheSquatter(t *testing.T) {
	socket := testSocket(t)
	var squatter net.Listener
	asNobody(t, func() {
		var err error
		if squatter, err = net.Listen("unix", socket); err != nil {
			t.Error(err)
		}
	})
	first, err := hold(socket, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Release()
	if err := squatter.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := hold(socket, 0); err == nil || !strings.Contains(err.Error(), "another ipvs-proxier") {
		t.Errorf("the second: %v", err)
	}
}
