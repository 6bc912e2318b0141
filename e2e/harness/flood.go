package harness

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// floodBatch is how many datagrams one system call sends: a system call costs much more in an emulated machine than a
// datagram does.
const floodBatch = 64

// Deaf opens a UDP socket on the host that nobody reads. What arrives there when its queue is full is counted as
// UdpRcvbufErrors: that is after all hooks, and costs no system call. Closing the connection frees the port.
func Deaf(h *topology.Host, port uint16) (conn net.PacketConn, err error) {
	err = h.Do(func() error {
		conn, err = net.ListenPacket("udp4", fmt.Sprint(":", port))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", h.Name, err)
	}
	return conn, conn.(*net.UDPConn).SetReadBuffer(4096)
}

// Flood sends datagrams of 32 bytes from one socket of the host, as fast as it can, and returns how many of them a
// second arrived at a Deaf socket on the other host.
func Flood(from *topology.Host, target netip.AddrPort, to *topology.Host, lasts time.Duration) (float64, error) {
	before, err := ReadCounters(to)
	if err != nil {
		return 0, err
	}
	took, err := send(from, target, lasts)
	if err != nil {
		return 0, fmt.Errorf("flood of %s from %s: %w", target, from.Name, err)
	}
	after, err := ReadCounters(to)
	if err != nil {
		return 0, err
	}
	grown := after.Since(before)
	return float64(grown["UdpRcvbufErrors"]+grown["UdpInDatagrams"]) / took.Seconds(), nil
}

// message is struct mmsghdr of sendmmsg(2).
type message struct {
	header unix.Msghdr
	sent   uint32
}

func send(from *topology.Host, target netip.AddrPort, lasts time.Duration) (took time.Duration, err error) {
	var fd int
	err = from.Do(func() error {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: target.Addr().As4(), Port: int(target.Port())}); err != nil {
		return 0, err
	}
	payload := make([]byte, 32)
	vector := unix.Iovec{Base: &payload[0]}
	vector.SetLen(len(payload))
	batch := make([]message, floodBatch)
	for i := range batch {
		batch[i].header.Iov = &vector
		batch[i].header.SetIovlen(1)
	}
	began := time.Now()
	for time.Since(began) < lasts {
		_, _, failed := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&batch[0])), floodBatch, 0, 0, 0)
		if failed != 0 && failed != unix.EINTR && failed != unix.ENOBUFS {
			return 0, failed
		}
	}
	runtime.KeepAlive(batch)
	return time.Since(began), nil
}
