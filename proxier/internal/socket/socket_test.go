package socket

import (
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// listen listens in a directory that is not there yet, and answers with the text until the test ends.
func listen(t *testing.T, path string, uid int) net.Listener {
	t.Helper()
	l, err := Listen(path, uid)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "at "+r.URL.Path)
	}), ReadHeaderTimeout: time.Minute}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return l
}

func ask(path string) (string, error) {
	response, err := Client(path).Get("http://node/status")
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return string(text), err
}

// TestTheSocketIsItsOwnersAlone: it has mode 0600 whatever the umask, and a connection of another user is closed.
func TestTheSocketIsItsOwnersAlone(t *testing.T) {
	defer unix.Umask(unix.Umask(0))
	path := filepath.Join(t.TempDir(), "new", "s")
	l := listen(t, path, os.Getuid())
	if info, err := os.Stat(path); err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("the file: %v, %v", info, err)
	}
	if info, err := os.Stat(filepath.Dir(path)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("its directory: %v, %v", info, err)
	}
	if text, err := ask(path); err != nil || text != "at /status" {
		t.Errorf("the owner gets %q, %v", text, err)
	}
	other := filepath.Join(t.TempDir(), "s")
	listen(t, other, os.Getuid()+1)
	if text, err := ask(other); err == nil || Why(err) != "" {
		t.Errorf("another user gets %q, %v", text, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("after Close the file is there: %v", err)
	}
	if _, err := ask(path); Why(err) != "there is no such socket" {
		t.Errorf("then a client gets %v", err)
	}
}

// TestADeadSocketIsReplaced, a living one is not, and nor is what is no socket.
func TestADeadSocketIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false) // as SIGKILL leaves it
	dead.Close()
	if _, err := ask(path); Why(err) != "the process that made the socket has ended" {
		t.Errorf("a client of a dead one gets %v", err)
	}
	listen(t, path, os.Getuid())
	_, err = Listen(path, os.Getuid())
	if want := "the process " + strconv.Itoa(os.Getpid()); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("a second one: %v, want %q", err, want)
	}
	if text, err := ask(path); err != nil || text != "at /status" {
		t.Errorf("the first one answers %q, %v", text, err)
	}
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(file, os.Getuid()); err == nil || !strings.Contains(err.Error(), "is no socket") {
		t.Errorf("on a file: %v", err)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "precious" {
		t.Errorf("the file is %q, %v", text, err)
	}
}

// TestThePathHasABound, which is that of the kernel.
func TestThePathHasABound(t *testing.T) {
	t.Chdir(t.TempDir())
	for length, fits := range map[int]bool{MaxPath: true, MaxPath + 1: false} {
		l, err := Listen(strings.Repeat("s", length), os.Getuid())
		if (err == nil) != fits {
			t.Errorf("a path of %d bytes: %v", length, err)
		}
		if err == nil {
			l.Close()
		}
	}
}
