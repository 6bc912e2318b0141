package control

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"unsafe"

	vishvananda "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/internal/netlink"
)

// ipvs asks the kernel about one virtual server, or how many there are, which is cheap enough to be done every millisecond. IPv4 is asked
// by getsockopt, one system call; IPv6, and IPv4 where a word has not 64 bits, by netlink.
type ipvs struct {
	fd     int // of the getsockopt interface; -1 where it is not used
	buf    []byte
	room   int // for real servers
	socket *netlink.Socket
	family uint16 // the number of generic netlink's family
}

const (
	// The numbers and structures of include/uapi/linux/ip_vs.h as 64-bit architectures lay them out (Linux 6.12).
	soGetInfo  = 64 + 1024 + 64 + 1 // IP_VS_SO_GET_INFO: struct ip_vs_getinfo, version, size, num_services
	soGetDests = 64 + 1024 + 64 + 4 // IP_VS_SO_GET_DESTS

	infoSize = 12
	// struct ip_vs_get_dests: protocol at 0, addr at 4, port at 8, fwmark at 12, num_dests at 16, and from 24 on the entries.
	getDestsHead = 24
	// struct ip_vs_dest_entry: addr at 0, port at 4, conn_flags at 8, weight at 12.
	destEntry = 96

	// The attributes and commands of generic netlink's family IPVS.
	cmdGetDest                                  = 8
	attrService, attrDest                       = 1, 2
	serviceFamily, serviceProtocol, serviceAddr = 1, 2, 3
	servicePortAttr                             = 4
	destAddr, destPort, destWeight              = 1, 2, 4
	destFamily                                  = 11
)

// openIPVS opens it for virtual servers with up to that many real servers.
func openIPVS(endpoints int, v6 bool) (*ipvs, error) {
	k := &ipvs{fd: -1}
	if !v6 && strconv.IntSize == 64 {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		// Those that drain are there, too.
		k.fd, k.room = fd, 2*endpoints+8
		k.buf = make([]byte, getDestsHead+k.room*destEntry)
		return k, nil
	}
	family, err := vishvananda.GenlFamilyGet("IPVS")
	if err != nil {
		return nil, fmt.Errorf("find the kernel's IPVS: %w", err)
	}
	k.family = family.ID
	k.socket, err = netlink.Dial(unix.NETLINK_GENERIC)
	return k, err
}

func (k *ipvs) close() {
	if k.fd >= 0 {
		unix.Close(k.fd)
	}
	if k.socket != nil {
		k.socket.Close()
	}
}

func (k *ipvs) getsockopt(option int, buf []byte) error {
	size := uint32(len(buf))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(k.fd), unix.SOL_IP, uintptr(option), uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// count is the number of virtual servers of IPv4 in this network namespace; counted is false where the kernel cannot be asked so.
func (k *ipvs) count() (n int, counted bool, err error) {
	if k.fd < 0 {
		return 0, false, nil
	}
	info := make([]byte, infoSize)
	if err := k.getsockopt(soGetInfo, info); err != nil {
		return 0, false, fmt.Errorf("getsockopt IP_VS_SO_GET_INFO: %w", err)
	}
	return int(binary.NativeEndian.Uint32(info[8:])), true, nil
}

// real lists the real servers with a weight above 0 of one virtual server of TCP; found is false when there is no such virtual server.
func (k *ipvs) real(of netip.AddrPort) (real []netip.AddrPort, found bool, err error) {
	if k.fd < 0 {
		return k.dump(of)
	}
	clear(k.buf)
	binary.NativeEndian.PutUint16(k.buf, unix.IPPROTO_TCP)
	addr := of.Addr().As4()
	copy(k.buf[4:], addr[:])
	binary.BigEndian.PutUint16(k.buf[8:], of.Port())
	binary.NativeEndian.PutUint32(k.buf[16:], uint32(k.room))
	switch err := k.getsockopt(soGetDests, k.buf); {
	case errors.Is(err, unix.ESRCH):
		return nil, false, nil
	case err != nil:
		return nil, false, fmt.Errorf("getsockopt IP_VS_SO_GET_DESTS: %w", err)
	}
	for entry := k.buf[getDestsHead:]; len(entry) >= destEntry && binary.NativeEndian.Uint32(entry) != 0; entry = entry[destEntry:] {
		if binary.NativeEndian.Uint32(entry[12:]) > 0 {
			real = append(real, netip.AddrPortFrom(netip.AddrFrom4([4]byte(entry)), binary.BigEndian.Uint16(entry[4:])))
		}
	}
	return real, true, nil
}

// dump does the same by netlink, where a virtual server that is not there has no real servers.
func (k *ipvs) dump(of netip.AddrPort) (real []netip.AddrPort, found bool, err error) {
	var b netlink.Batch
	b.Begin(k.family, unix.NLM_F_DUMP)
	b.Raw(cmdGetDest, 1, 0, 0)
	nest := b.Nest(attrService)
	family := uint16(unix.AF_INET)
	if of.Addr().Is6() {
		family = unix.AF_INET6
	}
	b.Uint16(serviceFamily, family)
	b.Uint16(serviceProtocol, unix.IPPROTO_TCP)
	addr := make([]byte, 16)
	copy(addr, of.Addr().AsSlice())
	b.Bytes(serviceAddr, addr)
	b.Uint16BE(servicePortAttr, of.Port())
	b.EndNest(nest)
	b.End()
	err = k.socket.Dump(&b, func() { real = real[:0] }, func(payload []byte) {
		netlink.Attributes(payload[min(4, len(payload)):], func(attr uint16, value []byte) {
			if attr == attrDest {
				if at, weight := parseDest(value, of.Addr().Is6()); at.IsValid() && weight > 0 {
					real = append(real, at)
				}
			}
		})
	})
	return real, err == nil && len(real) > 0, err
}

func parseDest(data []byte, v6 bool) (at netip.AddrPort, weight uint32) {
	var addr netip.Addr
	var raw []byte
	var port uint16
	netlink.Attributes(data, func(attr uint16, value []byte) {
		switch {
		case attr == destAddr:
			raw = value
		case attr == destPort && len(value) >= 2:
			port = binary.BigEndian.Uint16(value)
		case attr == destWeight && len(value) >= 4:
			weight = binary.NativeEndian.Uint32(value)
		case attr == destFamily && len(value) >= 2:
			v6 = binary.NativeEndian.Uint16(value) == unix.AF_INET6
		}
	})
	switch {
	case v6 && len(raw) >= 16:
		addr = netip.AddrFrom16([16]byte(raw))
	case !v6 && len(raw) >= 4:
		addr = netip.AddrFrom4([4]byte(raw))
	}
	return netip.AddrPortFrom(addr, port), weight
}
