package harness

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// CloseFirst answers on the host as ipvs-load serve does, but ends each connection itself with its one reply, as many
// servers do: TIME_WAIT is then the server's. Closing the listener ends it.
func CloseFirst(h *topology.Host, port uint16, id string) (listener net.Listener, err error) {
	err = h.Do(func() error {
		listener, err = net.Listen("tcp", fmt.Sprint(":", port))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", h.Name, err)
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go answerAndClose(conn.(*net.TCPConn), id)
		}
	}()
	return listener, nil
}

func answerAndClose(conn *net.TCPConn, id string) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return
	}
	_, token, _ := strings.Cut(strings.TrimSpace(line), " ")
	// Reply and FIN leave in one segment: the client cannot be the first to close.
	if raw, err := conn.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_CORK, 1) })
	}
	fmt.Fprintf(conn, "ipvs-load/1 id=%s client=%s token=%s\n", id, conn.RemoteAddr(), token)
}
