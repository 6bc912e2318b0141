package server

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/target"
)

// listenSCTP listens for SCTP associations in the one-to-one style of RFC 6458, which behave as TCP's connections do.
// Package net knows no SCTP. But it takes such a socket for a stream of its own, and asks nothing of it that SCTP
// lacks.
func listenSCTP(t target.Target) (net.Listener, error) {
	domain, address := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{
		Port: int(t.Addr.Port()), Addr: t.Addr.Addr().As16(),
	})
	if t.Addr.Addr().Is4() {
		domain, address = unix.AF_INET, &unix.SockaddrInet4{Port: int(t.Addr.Port()), Addr: t.Addr.Addr().As4()}
	}
	fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
	if err != nil {
		return nil, fmt.Errorf("this kernel has no sctp socket: %w (modprobe sctp)", err)
	}
	f := os.NewFile(uintptr(fd), t.String())
	defer f.Close() // the listener has a copy
	// As package net does: a server that starts again does not wait for the old one's connections.
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return nil, err
	}
	if err := unix.Bind(fd, address); err != nil {
		return nil, err
	}
	if err := unix.Listen(fd, unix.SOMAXCONN); err != nil {
		return nil, err
	}
	l, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	return sctpListener{l}, nil
}

// sctpListener's addresses name SCTP as their network, and not TCP.
type sctpListener struct{ net.Listener }

// listen opens the listener of a target that is no UDP.
func listen(t target.Target) (net.Listener, error) {
	if t.Protocol == target.SCTP {
		return listenSCTP(t)
	}
	return net.Listen(network(t), t.Addr.String())
}
