package server

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/target"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/wire"
)

// receiveBuffer is what a UDP socket asks for, so that a burst is served late rather than lost here. The kernel grants
// at most net.core.rmem_max.
const receiveBuffer = 4 << 20

// datagrams is a UDP socket that answers from the address that was asked. On a machine with several addresses the
// kernel would choose the answer's source by its routes, and the client would not know the answer for its own.
type datagrams struct{ conn *net.UDPConn }

func listenUDP(t target.Target) (*datagrams, error) {
	conn, err := net.ListenUDP(network(t), net.UDPAddrFromAddrPort(t.Addr))
	if err != nil {
		return nil, err
	}
	_ = conn.SetReadBuffer(receiveBuffer)
	raw, err := conn.SyscallConn()
	if err == nil {
		var set error
		err = raw.Control(func(fd uintptr) {
			if t.Addr.Addr().Is4() {
				set = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
			} else {
				set = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
			}
		})
		err = errors.Join(err, set)
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("ask for the destination address of datagrams: %w", err)
	}
	return &datagrams{conn}, nil
}

// answerAll answers the datagrams of one socket. Without a delay that is one goroutine and no allocation; with one,
// each answer waits in a goroutine.
func (s *Server) answerAll(d *datagrams) error {
	var in [wire.MaxLine + 1]byte // one more, to see that a datagram is too long
	var out [wire.MaxLine]byte
	var control [64]byte // holds the larger of the two packet infos: 40 bytes
	for {
		n, c, _, client, err := d.conn.ReadMsgUDPAddrPort(in[:], control[:])
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.EMSGSIZE):
			continue
		case err != nil:
			return err
		}
		line := answer(out[:0], s.config.ID, in[:n], client)
		if line == nil {
			continue
		}
		from := sourceOf(control[:c])
		delay := s.delay()
		if delay == 0 {
			d.send(line, from, client)
			continue
		}
		line, from = append([]byte(nil), line...), append([]byte(nil), from...)
		s.serving.Go(func() {
			if s.alarm.sleep(delay) {
				d.send(line, from, client)
			}
		})
	}
}

// answer returns the answer to a line, nil to one that is an answer itself.
func answer(out []byte, id string, request []byte, client netip.AddrPort) []byte {
	token, err := wire.ParseRequest(request)
	switch {
	case errors.Is(err, wire.ErrIsReply):
		return nil
	case err != nil:
		return wire.AppendRefusal(out, err)
	}
	return wire.AppendReply(out, id, client, token)
}

// send gives an answer. One that cannot be sent is lost like any datagram; the client counts it.
func (d *datagrams) send(line, from []byte, client netip.AddrPort) {
	_, _, _ = d.conn.WriteMsgUDPAddrPort(line, from, client)
}

// sourceOf makes the control message of an answer out of the request's: the address that was asked becomes the source.
// The link is left open, except for link-local addresses, which mean nothing without it.
func sourceOf(control []byte) []byte {
	header, data, _, err := unix.ParseOneSocketControlMessage(control)
	if err != nil {
		return nil
	}
	switch {
	case header.Level == unix.IPPROTO_IP && header.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
		// struct in_pktinfo: link, ipi_spec_dst (source of an answer), ipi_addr (destination of the request).
		clear(data[0:4])
		copy(data[4:8], data[8:12])
	case header.Level == unix.IPPROTO_IPV6 && header.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
		// struct in6_pktinfo: address, link.
		if addr := netip.AddrFrom16([16]byte(data[:16])); !addr.IsLinkLocalUnicast() {
			clear(data[16:20])
		}
	default:
		return nil
	}
	return control
}
