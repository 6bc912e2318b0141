package engine

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/target"
)

// route is one way to a target: its address and, when the user named sources, where to come from. A worker has its own
// routes, because x/sys/unix builds the kernel's form of an address inside the value.
type route struct {
	target   int
	protocol target.Protocol
	domain   int
	to, from unix.Sockaddr // from is nil when the kernel chooses

	source4 unix.SockaddrInet4 // what source returns
	source6 unix.SockaddrInet6
}

func newRoutes(c *Config) ([][]*route, error) {
	all := make([][]*route, len(c.Targets))
	for i, t := range c.Targets {
		sources := sourcesFor(t, c.Sources)
		if len(sources) == 0 {
			sources = []netip.Addr{{}}
		}
		for _, s := range sources {
			r := &route{target: i, protocol: t.Protocol, domain: domain(t.Addr.Addr())}
			var err error
			if r.to, err = newSockaddr(t.Addr); err != nil {
				return nil, err
			}
			if s.IsValid() {
				if r.from, err = newSockaddr(netip.AddrPortFrom(s, 0)); err != nil {
					return nil, err
				}
			}
			all[i] = append(all[i], r)
		}
	}
	return all, nil
}

func domain(a netip.Addr) int {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func newSockaddr(a netip.AddrPort) (unix.Sockaddr, error) {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}, nil
	}
	sa := &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
	if zone := a.Addr().Zone(); zone != "" {
		if index, err := strconv.ParseUint(zone, 10, 32); err == nil {
			sa.ZoneId = uint32(index)
			return sa, nil
		}
		link, err := net.InterfaceByName(zone)
		if err != nil {
			return nil, fmt.Errorf("zone %q is no link of this machine", zone)
		}
		sa.ZoneId = uint32(link.Index)
	}
	return sa, nil
}

// open makes the route's socket and binds it if the user named a source, or ports are given out, which may be nil. The
// operation that failed is returned with the error number.
func (r *route) open(ports *sourcePorts) (fd int, op string, err error) {
	kind, protocol := socketKind(r.protocol)
	fd, err = unix.Socket(r.domain, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return -1, "socket", err
	}
	if ports != nil {
		if err = ports.bind(fd, r); err != nil {
			unix.Close(fd)
			return -1, "bind", err
		}
		return fd, "", nil
	}
	if r.from == nil {
		return fd, "", nil
	}
	if r.protocol == target.TCP {
		// Without it bind would take a port that no other connection of this source has, to any destination; with it
		// (Linux 4.2) connect picks one, which only has to be free towards this target.
		if err = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
			unix.Close(fd)
			return -1, "setsockopt IP_BIND_ADDRESS_NO_PORT", err
		}
	}
	if err = unix.Bind(fd, r.from); err != nil {
		unix.Close(fd)
		return -1, "bind", err
	}
	return fd, "", nil
}

// socketKind is the type and the protocol of a socket; SCTP's is the one-to-one style of RFC 6458, which works as TCP's
// does.
func socketKind(p target.Protocol) (kind, protocol int) {
	switch p {
	case target.UDP:
		return unix.SOCK_DGRAM, unix.IPPROTO_UDP
	case target.SCTP:
		return unix.SOCK_STREAM, unix.IPPROTO_SCTP
	}
	return unix.SOCK_STREAM, unix.IPPROTO_TCP
}

// tryProtocol says why this kernel cannot speak the protocol, or nil. Only SCTP may be missing: it is a module, which
// an unprivileged process makes the kernel load where the distribution has not forbidden that.
func tryProtocol(p target.Protocol) error {
	kind, protocol := socketKind(p)
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return fmt.Errorf("this kernel has no %s socket: %w (modprobe %s)", p, err, p)
	}
	return unix.Close(fd)
}

func tryBind(a netip.Addr) error {
	sa, err := newSockaddr(netip.AddrPortFrom(a, 0))
	if err != nil {
		return err
	}
	fd, err := unix.Socket(domain(a), unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Bind(fd, sa)
}

// resetOnClose makes close send RST: SO_LINGER with a time of 0.
func resetOnClose(fd int) {
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 0})
}

// retransmits is how many segments the kernel sent again on a connection; before data flows those are SYNs.
func retransmits(fd int) int {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0
	}
	return int(info.Total_retrans)
}

// socketError takes the pending error off a socket, nil when there is none.
func socketError(fd int) error {
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	switch {
	case err != nil:
		return err
	case n != 0:
		return unix.Errno(n)
	}
	return nil
}
