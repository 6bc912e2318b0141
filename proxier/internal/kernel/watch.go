package kernel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"os"

	"golang.org/x/sys/unix"
)

// WatchAddresses calls changed after an address of any link but ours has changed, until ctx ends; changed must not block. The network namespace is that of the
// calling thread.
func WatchAddresses(ctx context.Context, ours string, changed func()) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("watch addresses: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR}); err != nil {
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
		case errors.Is(err, unix.ENOBUFS): // more has changed than there is room for
			changed()
			continue
		case err != nil:
			return fmt.Errorf("watch addresses: %w", err)
		}
		on := linkOf(buffer[:n])
		if on != left {
			// Ours may have been made anew.
			if index, err := numbers.of(ours); err == nil && index != 0 && index == on {
				if err := leaveOut(fd, index); err == nil {
					left = index
				}
				continue
			}
			changed()
		}
	}
}

// linkOf returns of which link a message tells that it has got or lost an address. The kernel sends one message at a time.
func linkOf(message []byte) int {
	if len(message) < ifaIndex+4 {
		return -1
	}
	return int(binary.NativeEndian.Uint32(message[ifaIndex:]))
}

// ifaIndex is where the number of the link stands: struct ifaddrmsg follows struct nlmsghdr.
const ifaIndex = unix.SizeofNlMsghdr + 4

// leaveOut makes the kernel keep back what it would tell of one link: a start adds thousands of addresses to ours, and each would wake us. Numbers of links
// are not used again before they are used up.
func leaveOut(fd, index int) error {
	// A filter reads numbers as the network has them, and the message has them as this machine has them.
	number := uint32(index)
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		number = bits.ReverseBytes32(number)
	}
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: ifaIndex},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: number, Jt: 0, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
		{Code: unix.BPF_RET | unix.BPF_K, K: 1 << 16},
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
}
