package replay

import (
	"fmt"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/internal/netlink"
)

// Look is the time that it takes to read a dataplane, without making anything of it.
type Look struct {
	Services  int     `json:"virtual_servers"`
	Addresses int     `json:"addresses_and_routes"`
	Sets      int     `json:"set_buffers"`
	Took      float64 `json:"took_s"`
}

const (
	// Generic netlink's IPVS: commands and attributes.
	cmdGetService, cmdGetDest                = 4, 8
	attrService                              = 1
	serviceAF, serviceProtocol               = 1, 2
	serviceAddr, servicePort                 = 3, 4
	ipsetList, ipsetProtocolAttr, ipsetProto = 6<<8 | 7, 1, 6

	// getsockopt's IPVS on 64-bit architectures, as in package control.
	soGetDests, getDestsHead, destEntry = 64 + 1024 + 64 + 4, 24, 96
	room                                = 64
)

// look dumps the virtual servers, the real servers of each (those of IPv4 by getsockopt), addresses, routes, and sets with their entries.
func look(sockets map[uint16]*netlink.Socket, ipvs uint16) (l Look, err error) {
	began := time.Now()
	defer func() { l.Took = time.Since(began).Seconds() }()
	var b netlink.Batch
	type server struct {
		af, protocol, port []byte
		addr               []byte
	}
	var servers []server
	b.Begin(ipvs, unix.NLM_F_DUMP)
	b.Raw(cmdGetService, 1, 0, 0)
	b.End()
	clone := func(v []byte) []byte { return append([]byte(nil), v...) }
	err = sockets[unix.NETLINK_GENERIC].Dump(&b, func() { servers = servers[:0] }, func(payload []byte) {
		netlink.Attributes(payload[min(4, len(payload)):], func(attr uint16, value []byte) {
			if attr != attrService {
				return
			}
			var s server
			netlink.Attributes(value, func(attr uint16, value []byte) {
				switch attr {
				case serviceAF:
					s.af = clone(value)
				case serviceProtocol:
					s.protocol = clone(value)
				case serviceAddr:
					s.addr = clone(value)
				case servicePort:
					s.port = clone(value)
				}
			})
			servers = append(servers, s)
		})
	})
	if err != nil {
		return l, fmt.Errorf("dump virtual servers: %w", err)
	}
	l.Services = len(servers)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return l, err
	}
	defer unix.Close(fd)
	buf := make([]byte, getDestsHead+room*destEntry)
	for _, s := range servers {
		if len(s.af) < 2 || len(s.protocol) < 2 || len(s.addr) < 4 || len(s.port) < 2 {
			continue // of a firewall mark
		}
		if netlink.Uint16(s.af) == unix.AF_INET && strconv.IntSize == 64 {
			clear(buf[:getDestsHead])
			copy(buf[0:], s.protocol)
			copy(buf[4:8], s.addr)
			copy(buf[8:], s.port)
			buf[16] = room
			size := uint32(len(buf))
			if _, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_IP, soGetDests, uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&size)), 0); errno != 0 {
				return l, fmt.Errorf("getsockopt IP_VS_SO_GET_DESTS: %w", errno)
			}
			continue
		}
		b.Reset()
		b.Begin(ipvs, unix.NLM_F_DUMP)
		b.Raw(cmdGetDest, 1, 0, 0)
		nest := b.Nest(attrService)
		b.Bytes(serviceAF, s.af)
		b.Bytes(serviceProtocol, s.protocol)
		b.Bytes(serviceAddr, s.addr)
		b.Bytes(servicePort, s.port)
		b.EndNest(nest)
		b.End()
		if err := sockets[unix.NETLINK_GENERIC].Dump(&b, func() {}, func([]byte) {}); err != nil {
			return l, fmt.Errorf("dump real servers: %w", err)
		}
	}
	for _, kind := range []uint16{unix.RTM_GETADDR, unix.RTM_GETROUTE} {
		b.Reset()
		b.Begin(kind, unix.NLM_F_DUMP)
		b.Raw(make([]byte, unix.SizeofRtMsg)...)
		b.End()
		n := 0
		if err := sockets[unix.NETLINK_ROUTE].Dump(&b, func() { n = 0 }, func([]byte) { n++ }); err != nil {
			return l, fmt.Errorf("dump addresses and routes: %w", err)
		}
		l.Addresses += n
	}
	b.Reset()
	b.Begin(ipsetList, unix.NLM_F_DUMP)
	b.Raw(0, 0, 0, 0)
	b.Uint8(ipsetProtocolAttr, ipsetProto)
	b.End()
	if err := sockets[unix.NETLINK_NETFILTER].Dump(&b, func() { l.Sets = 0 }, func([]byte) { l.Sets++ }); err != nil {
		return l, fmt.Errorf("dump sets: %w", err)
	}
	return l, nil
}
