package harness

import (
	"fmt"
	"net/netip"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// LoadSCTP loads the protocol, which the kernel does not load for those in other network namespaces.
func LoadSCTP() error {
	if out, err := exec.Command("modprobe", "sctp").CombinedOutput(); err != nil {
		return fmt.Errorf("modprobe sctp: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// ServeSCTP answers SCTP associations to the port, in both families, with the identity and the client's address. It returns
// what ends it.
func ServeSCTP(h *topology.Host, port uint16, id string) (func(), error) {
	fd, err := sctpSocket(h, unix.AF_INET6)
	if err != nil {
		return nil, err
	}
	if err = unix.Bind(fd, &unix.SockaddrInet6{Port: int(port)}); err == nil {
		err = unix.Listen(fd, 64)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("listen on %s: %w", h.Name, err)
	}
	go func() {
		for {
			conn, from, err := unix.Accept(fd)
			if err != nil {
				if err == unix.EAGAIN || err == unix.EINTR {
					continue
				}
				return
			}
			unix.Write(conn, fmt.Appendf(nil, "ipvs-load/1 id=%s client=%s\n", id, sockaddr(from)))
			var ended [1]byte
			unix.Read(conn, ended[:]) // until the client closes
			unix.Close(conn)
		}
	}()
	return func() { unix.Shutdown(fd, unix.SHUT_RDWR); unix.Close(fd) }, nil
}

// AskSCTP asks by SCTP who serves the address.
func AskSCTP(h *topology.Host, to netip.AddrPort) (Answer, error) {
	family, peer := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Port: int(to.Port())})
	if to.Addr().Is4() {
		peer.(*unix.SockaddrInet4).Addr = to.Addr().As4()
	} else {
		family, peer = unix.AF_INET6, &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	}
	fd, err := sctpSocket(h, family)
	if err != nil {
		return Answer{}, err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, peer); err != nil {
		return Answer{}, fmt.Errorf("connect: %w", err)
	}
	line := make([]byte, 256)
	n, err := unix.Read(fd, line)
	if err != nil {
		return Answer{}, fmt.Errorf("read: %w", err)
	}
	return parseAnswer(string(line[:n]))
}

// sctpSocket opens a socket whose calls give up after two seconds.
func sctpSocket(h *topology.Host, family int) (fd int, err error) {
	err = h.Do(func() (err error) {
		fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
		return err
	})
	if err != nil {
		return -1, fmt.Errorf("open an SCTP socket: %w", err)
	}
	for _, option := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} {
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, option, &unix.Timeval{Sec: 2}); err != nil {
			unix.Close(fd)
			return -1, err
		}
	}
	return fd, nil
}

func sockaddr(from unix.Sockaddr) netip.AddrPort {
	switch a := from.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{}
}
