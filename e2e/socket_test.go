//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
)

const socketPath = "/run/ipvs-proxier/ipvs-proxier.sock"

// TestCommandsUseTheSocket: with all ports off, status and journal find the daemon on its socket, which is root's
// alone. After a SIGKILL the next life takes the place of the dead socket. One that another process listens on is left
// alone, and Services are served meanwhile.
func TestCommandsUseTheSocket(t *testing.T) {
	c := newCluster(t)
	client := c.pod(1, 50, "client")
	c.write("web.yaml", with(web(), c.backend(1, 10, "one")))
	c.run("--metrics-bind-address", "", "--healthz-bind-address", "")
	run := func(args ...string) (string, error) {
		return c.Node1.Run(programs.Path("ipvs-proxier"), args...)
	}
	if text, err := run("status"); err != nil || !strings.Contains(text, web4.String()) ||
		!strings.Contains(text, web6.String()) {
		t.Errorf("status ends with %v:\n%s", err, text)
	}
	if text, err := run("journal"); err != nil || !strings.Contains(text, "start") {
		t.Errorf("journal ends with %v:\n%s", err, text)
	}
	if info, err := os.Stat(socketPath); err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("the socket: %v, %v", info, err)
	}
	nobody := func() string {
		text, err := c.Node1.Run("setpriv", "--reuid=65534", "--clear-groups", "--", programs.Path("ipvs-proxier"), "status")
		return fmt.Sprint(text, err)
	}
	if said := nobody(); !strings.Contains(said, "the socket is root's") {
		t.Errorf("a user other than root gets no refusal:\n%s", said)
	}
	// The mode of the file is one barrier, the credentials of the client from the kernel the other one.
	c.must(os.Chmod("/run/ipvs-proxier", 0o755))
	c.must(os.Chmod(socketPath, 0o666))
	if said := nobody(); !strings.Contains(said, "no ipvs-proxier answers") ||
		strings.Contains(said, "the socket is root's") {
		t.Errorf("a user whom the mode lets in gets no refusal:\n%s", said)
	}

	c.proxier.Kill()
	if text, err := run("status"); err == nil ||
		!strings.Contains(err.Error()+text, "the process that made the socket has ended") {
		t.Errorf("after SIGKILL status ends with %v:\n%s", err, text)
	}
	c.again()
	if text, err := run("status"); err != nil {
		t.Errorf("in the next life status ends with %v:\n%s", err, text)
	}
	c.must(c.proxier.Stop())
	c.await(func() error {
		if !c.proxier.Ended() {
			return errors.New("it goes on after SIGTERM")
		}
		return nil
	})
	if _, err := os.Lstat(socketPath); !os.IsNotExist(err) {
		t.Errorf("after SIGTERM the socket is there: %v", err)
	}

	other, err := net.Listen("unix", socketPath)
	c.must(err)
	c.start("--manifests", c.manifests)
	c.awaitOutput(fmt.Sprintf("the process %d of the user 0 listens on %s already", os.Getpid(), socketPath))
	c.await(func() error {
		text, _ := run("status", "--server", "127.0.0.1:10249")
		if !strings.Contains(text, "NotListening") || !strings.Contains(text, "socket: ") {
			return fmt.Errorf("status does not report it:\n%s", text)
		}
		return nil
	})
	if id := c.ask(client, "tcp", web4).ID; id != "one" {
		t.Errorf("%s answers", id)
	}
	c.must(other.Close())
	c.await(func() error {
		text, err := run("status")
		if err != nil {
			return fmt.Errorf("%w:\n%s", err, text)
		}
		return nil
	})
}
