package kernel

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/internal/netlink"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// destinationReader lists the real servers of an IPv4 virtual server by getsockopt, the interface that IPVS had before netlink: one system call
// where a netlink dump takes three, and a fixed structure where that has attributes. It shows no real servers of IPv6, which a
// virtual server of IPv4 can have by tunnels only; we never make such.
//
// The structures are those of include/uapi/linux/ip_vs.h as 64-bit architectures lay them out (Linux 6.12); on others nothing is read
// this way.
type destinationReader struct {
	fd  int
	buf []byte
}

const (
	soGetDests = 64 + 1024 + 64 + 4 // IP_VS_SO_GET_DESTS

	// struct ip_vs_get_dests: protocol at 0, addr at 4, port at 8, fwmark at 12, num_dests at 16, and from 24 on the entries.
	getDestsHead = 24
	// struct ip_vs_dest_entry: addr at 0, port at 4, conn_flags at 8, weight at 12, thresholds at 16 and 20, activeconns at 24,
	// inactconns at 28, persistconns at 32, and from 40 on statistics.
	destEntry = 96

	fewDests = 32
)

// newDestinationReader returns nil where real servers are to be listed by netlink.
func newDestinationReader() *destinationReader {
	if strconv.IntSize != 64 {
		return nil
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	return &destinationReader{fd: fd, buf: make([]byte, getDestsHead+fewDests*destEntry)}
}

// close may be called again, when its descriptor may be another file's.
func (r *destinationReader) close() error {
	if r.fd < 0 {
		return nil
	}
	fd := r.fd
	r.fd = -1
	return unix.Close(fd)
}

// each calls f for every real server of the virtual server, in the order of the kernel's list. A virtual server that does not
// exist is ESRCH.
func (r *destinationReader) each(id dataplane.VirtualServerID, f func(destination)) error {
	for {
		// The kernel fills as many entries as there is room for, and says nowhere how many there are: room that is left
		// shows that it was enough.
		room := (len(r.buf) - getDestsHead) / destEntry
		clear(r.buf)
		binary.NativeEndian.PutUint16(r.buf[0:], uint16(id.Protocol))
		addr := id.Addr.As4()
		copy(r.buf[4:], addr[:])
		binary.BigEndian.PutUint16(r.buf[8:], id.Port)
		binary.NativeEndian.PutUint32(r.buf[16:], uint32(room))
		size := uint32(len(r.buf))
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(r.fd), unix.SOL_IP, soGetDests,
			uintptr(unsafe.Pointer(&r.buf[0])), uintptr(unsafe.Pointer(&size)), 0)
		if errno != 0 {
			return fmt.Errorf("getsockopt IP_VS_SO_GET_DESTS: %w", errno)
		}
		last := r.buf[len(r.buf)-destEntry:]
		if netlink.Uint32(last) == 0 && netlink.Uint16(last[4:]) == 0 {
			break
		}
		r.buf = make([]byte, getDestsHead+2*room*destEntry)
	}
	for entry := r.buf[getDestsHead:]; len(entry) >= destEntry; entry = entry[destEntry:] {
		if netlink.Uint32(entry) == 0 && netlink.Uint16(entry[4:]) == 0 {
			return nil
		}
		f(destination{
			addr: parseAddr(unix.AF_INET, entry[0:4]), port: netlink.Uint16BE(entry[4:]), foreign: netlink.Uint32(entry[8:])&forwardingMask != 0,
			weight: netlink.Uint32(entry[12:]), upper: netlink.Uint32(entry[16:]), lower: netlink.Uint32(entry[20:]),
			active: netlink.Uint32(entry[24:]), inactive: netlink.Uint32(entry[28:]),
		})
	}
	return nil
}
