package harness

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// AnswerSizes opens a UDP socket on the host that answers a datagram which begins with a number and a newline by one of
// that many bytes. Closing it ends that.
func AnswerSizes(h *topology.Host, at netip.AddrPort) (conn io.Closer, err error) {
	var socket *net.UDPConn
	err = h.Do(func() error {
		socket, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", h.Name, err)
	}
	go func() {
		request := make([]byte, 1<<16)
		for {
			n, client, err := socket.ReadFromUDPAddrPort(request)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			line, _, _ := bytes.Cut(request[:n], []byte("\n"))
			if size, err := strconv.Atoi(string(line)); err == nil {
				_, _ = socket.WriteToUDPAddrPort(make([]byte, size), client) // too large: the client repeats its request
			}
		}
	}()
	return socket, nil
}

// AskSizes sends datagrams of one size until one is answered by one of the other size. Some have to be lost before both
// ends know what the path takes.
func AskSizes(h *topology.Host, to netip.AddrPort, size, answer int) error {
	conn, err := Dial(h, "udp", to)
	if err != nil {
		return err
	}
	defer conn.Close()
	request := make([]byte, size)
	copy(request, strconv.Itoa(answer)+"\n")
	got := make([]byte, 1<<16)
	return Await(5*time.Second, func() error {
		if _, err := conn.Write(request); err != nil {
			return err
		}
		if err := conn.SetReadDeadline(time.Now().Add(Patiently(200 * time.Millisecond))); err != nil {
			return err
		}
		n, err := conn.Read(got)
		if err == nil && n != answer {
			err = fmt.Errorf("answered by %d bytes, want %d", n, answer)
		}
		return err
	})
}

// Download asks ipvs-load serve at the other end of the connection for a stream, and reads that many bytes of it.
func Download(conn net.Conn, size int) error {
	if err := stream(conn, "download"); err != nil {
		return err
	}
	got, err := io.CopyN(io.Discard, conn, int64(size))
	if err != nil {
		return fmt.Errorf("%d bytes of %d came: %w", got, size, err)
	}
	return nil
}

// Upload sends that many bytes to ipvs-load serve at the other end of the connection. They are far more than buffers
// hold, so that it ends only when most of them have arrived.
func Upload(conn net.Conn, size int) error {
	if err := conn.(*net.TCPConn).SetWriteBuffer(4096); err != nil {
		return err
	}
	if err := stream(conn, "upload"); err != nil {
		return err
	}
	sent, err := conn.Write(make([]byte, size))
	if err != nil {
		return fmt.Errorf("%d bytes of %d went: %w", sent, size, err)
	}
	return nil
}

func stream(conn net.Conn, direction string) error {
	if err := conn.SetDeadline(time.Now().Add(Patiently(5 * time.Second))); err != nil {
		return err
	}
	_, err := conn.Write([]byte("ipvs-load/1 stream " + direction + "\n"))
	return err
}
