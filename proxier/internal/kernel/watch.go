package kernel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/internal/netlink"
)

// AddressChange is a change of an address.
type AddressChange struct {
	// Gone is the address that a link has lost; it is not valid where a link has got one.
	Gone netip.Addr
	// Missed says that the socket's buffer overflowed: changes were lost.
	Missed bool
}

// WatchHandlers is what Watch calls. None must block.
type WatchHandlers struct {
	// Addresses is called after a change of an address of any link but ours.
	Addresses func(AddressChange)
	// Ours is called after our link has lost an address, or the table of local routes one of ours, whoever took it
	// away; with Missed where it may have.
	Ours func(AddressChange)
	// LinkGone is called after our link was deleted, or moved to another network namespace.
	LinkGone func()
}

// Watch calls the handlers for changes of addresses, for our routes that are gone and for the end of our link, until
// ctx ends. The network namespace is that of the calling thread.
func Watch(ctx context.Context, ours string, handlers WatchHandlers) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("watch addresses: %w", err)
	}
	groups := uint32(
		unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR |
			unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_IPV6_ROUTE,
	)
	if err := errors.Join(filterMessages(fd, 0), unix.Bind(fd, &unix.SockaddrNetlink{
		Family: unix.AF_NETLINK, Groups: groups,
	})); err != nil {
		unix.Close(fd)
		return fmt.Errorf("watch addresses: %w", err)
	}
	socket := os.NewFile(uintptr(fd), "addresses")
	defer socket.Close()
	defer context.AfterFunc(ctx, func() { socket.Close() })()
	numbers, err := newLinkNumbers()
	if err != nil {
		return fmt.Errorf("watch addresses: %w", err)
	}
	defer numbers.Close()
	buffer, left := make([]byte, 8<<10), 0
	for {
		n, err := socket.Read(buffer)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS): // more has changed than the buffer holds
			handlers.Addresses(AddressChange{Missed: true})
			handlers.Ours(AddressChange{Missed: true})
			if index, err := numbers.of(ours); err != nil || index == 0 {
				handlers.LinkGone()
			}
			continue
		case err != nil:
			return fmt.Errorf("watch addresses: %w", err)
		}
		message := buffer[:n]
		if name, is := deletedLink(message); is {
			if name == ours {
				handlers.LinkGone()
			}
			continue
		}
		if addr, is := goneRoute(message); is {
			handlers.Ours(AddressChange{Gone: addr})
			continue
		}
		on := linkOf(message)
		if on != left {
			// Ours may have been made anew.
			if index, err := numbers.of(ours); err == nil && index != 0 && index == on {
				if err := filterMessages(fd, index); err == nil {
					left = index
				}
			} else {
				handlers.Addresses(AddressChange{Gone: goneAddress(message)})
				continue
			}
		}
		if gone := goneAddress(message); gone.IsValid() {
			handlers.Ours(AddressChange{Gone: gone})
		}
	}
}

// goneRoute reports whether the message says that a route is gone, and of which address it was.
func goneRoute(message []byte) (addr netip.Addr, is bool) {
	const body = unix.SizeofNlMsghdr + unix.SizeofRtMsg
	if len(message) < body || binary.NativeEndian.Uint16(message[msgType:]) != unix.RTM_DELROUTE {
		return addr, false
	}
	netlink.Attributes(message[body:], func(attr uint16, value []byte) {
		if attr == unix.RTA_DST {
			addr, _ = netip.AddrFromSlice(value)
		}
	})
	return addr, true
}

// deletedLink reports whether the message says that a link is gone, and which. The name is "" where a link only left a
// bridge (of family AF_BRIDGE, net/bridge/br_netlink.c, Linux 6.1).
func deletedLink(message []byte) (name string, is bool) {
	const body = unix.SizeofNlMsghdr + unix.SizeofIfInfomsg
	if len(message) < body || binary.NativeEndian.Uint16(message[msgType:]) != unix.RTM_DELLINK {
		return "", false
	}
	if message[unix.SizeofNlMsghdr] != unix.AF_UNSPEC {
		return "", true
	}
	netlink.Attributes(message[body:], func(attr uint16, value []byte) {
		if attr == unix.IFLA_IFNAME {
			name = unix.ByteSliceToString(value)
		}
	})
	return name, true
}

// linkOf returns of which link a message says that it has got or lost an address. The kernel sends one message at a
// time.
func linkOf(message []byte) int {
	if len(message) < ifaIndex+4 {
		return -1
	}
	return int(binary.NativeEndian.Uint32(message[ifaIndex:]))
}

// goneAddress returns the address that a message reports as gone.
func goneAddress(message []byte) netip.Addr {
	if len(message) < unix.SizeofNlMsghdr || binary.NativeEndian.Uint16(message[msgType:]) != unix.RTM_DELADDR {
		return netip.Addr{}
	}
	_, addr := parseAddress(message[unix.SizeofNlMsghdr:])
	return addr
}

// ifaIndex is where the number of the link stands: struct ifaddrmsg follows struct nlmsghdr. msgType is where the
// latter has its type, rtmProtocol where struct rtmsg has the protocol.
const (
	ifaIndex    = unix.SizeofNlMsghdr + 4
	msgType     = 4
	rtmProtocol = unix.SizeofNlMsghdr + 5
)

// filterMessages makes the kernel drop the messages on addresses that one link gets; an index of 0 is no link. A start
// adds thousands of addresses to our link, and each would wake us. Of links, only their end passes: each pod brings a
// link, on which the kernel sends a dozen messages. Of routes, only the end of those with our protocol passes: some
// nodes have a million of others, which change all the time. Numbers of links are not used again before they are used
// up.
func filterMessages(fd, index int) error {
	// A filter reads numbers as the network has them, and the message has them as this machine has them.
	number, kind := uint32(index), func(kind uint16) uint32 { return uint32(kind) }
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		number, kind = bits.ReverseBytes32(number), func(kind uint16) uint32 { return uint32(bits.ReverseBytes16(kind)) }
	}
	const equal = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: msgType},
		{Code: equal, K: kind(unix.RTM_NEWLINK), Jt: 8},
		{Code: equal, K: kind(unix.RTM_NEWROUTE), Jt: 7},
		{Code: equal, K: kind(unix.RTM_DELLINK), Jt: 7},
		{Code: equal, K: kind(unix.RTM_DELADDR), Jt: 6},
		{Code: equal, K: kind(unix.RTM_DELROUTE), Jt: 2},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: ifaIndex}, // RTM_NEWADDR
		{Code: equal, K: number, Jt: 2, Jf: 3},
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: rtmProtocol},
		{Code: equal, K: routeProtocol, Jt: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
		{Code: unix.BPF_RET | unix.BPF_K, K: 1 << 16},
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
}
