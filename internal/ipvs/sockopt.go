package ipvs

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/internal/netlink"
)

// Reader reads by getsockopt, the interface that IPVS had before netlink: one system call where a netlink dump takes
// three, and a fixed structure where that has attributes. It knows IPv4 only, and shows no real servers of IPv6, which
// a virtual server of IPv4 can have by tunnels.
type Reader struct {
	fd  int
	buf []byte
}

const (
	soGetInfo  = 64 + 1024 + 64 + 1 // IP_VS_SO_GET_INFO: struct ip_vs_getinfo, version, size, num_services
	soGetDests = 64 + 1024 + 64 + 4 // IP_VS_SO_GET_DESTS

	infoSize = 12
	// struct ip_vs_get_dests: protocol at 0, addr at 4, port at 8, fwmark at 12, num_dests at 16, and from 24 on the
	// entries.
	destsHead = 24
	// struct ip_vs_dest_entry: addr at 0, port at 4, conn_flags at 8, weight at 12, thresholds at 16 and 20,
	// activeconns at 24, inactconns at 28, persistconns at 32, and from 40 on statistics.
	destEntry = 96
)

// NewReader returns a Reader with room for so many real servers of a virtual server; it makes more when it has to. The
// structures are laid out as 64-bit architectures do it: on others it returns an error.
func NewReader(room int) (*Reader, error) {
	if strconv.IntSize != 64 {
		return nil, fmt.Errorf("getsockopt of IPVS is read on 64-bit architectures only")
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open a socket: %w", err)
	}
	return &Reader{fd: fd, buf: make([]byte, destsHead+max(1, room)*destEntry)}, nil
}

// Close may be called again, when its descriptor may be another file's.
func (r *Reader) Close() error {
	if r.fd < 0 {
		return nil
	}
	fd := r.fd
	r.fd = -1
	return unix.Close(fd)
}

// Services returns how many virtual servers of IPv4 there are.
func (r *Reader) Services() (int, error) {
	var info [infoSize]byte
	if err := r.get(soGetInfo, info[:]); err != nil {
		return 0, fmt.Errorf("getsockopt IP_VS_SO_GET_INFO: %w", err)
	}
	return int(binary.NativeEndian.Uint32(info[8:])), nil
}

// Destinations calls each for every real server of the virtual server, in the order of the kernel's list. A virtual
// server that does not exist is ESRCH.
func (r *Reader) Destinations(of Key, each func(Destination)) error {
	for {
		// The kernel fills as many entries as there is room for, and says nowhere how many there are: room that is left
		// shows that it was enough.
		room := (len(r.buf) - destsHead) / destEntry
		clear(r.buf)
		binary.NativeEndian.PutUint16(r.buf[0:], of.Protocol)
		addr := of.Addr.As4()
		copy(r.buf[4:], addr[:])
		binary.BigEndian.PutUint16(r.buf[8:], of.Port)
		binary.NativeEndian.PutUint32(r.buf[16:], uint32(room))
		if err := r.get(soGetDests, r.buf); err != nil {
			return fmt.Errorf("getsockopt IP_VS_SO_GET_DESTS: %w", err)
		}
		if empty(r.buf[len(r.buf)-destEntry:]) {
			break
		}
		r.buf = make([]byte, destsHead+2*room*destEntry)
	}
	for entry := r.buf[destsHead:]; len(entry) >= destEntry && !empty(entry); entry = entry[destEntry:] {
		each(Destination{
			Addr: parseAddr(unix.AF_INET, entry[0:4]), Port: netlink.Uint16BE(entry[4:]),
			NAT:    netlink.Uint32(entry[8:])&methodMask == 0,
			Weight: netlink.Uint32(entry[12:]), Upper: netlink.Uint32(entry[16:]), Lower: netlink.Uint32(entry[20:]),
			Active: netlink.Uint32(entry[24:]), Inactive: netlink.Uint32(entry[28:]),
		})
	}
	return nil
}

// empty reports whether the entry has neither address nor port.
func empty(entry []byte) bool { return netlink.Uint32(entry) == 0 && netlink.Uint16(entry[4:]) == 0 }

func (r *Reader) get(option int, buf []byte) error {
	size := uint32(len(buf))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(r.fd), unix.SOL_IP, uintptr(option),
		uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}
