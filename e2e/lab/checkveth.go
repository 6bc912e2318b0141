package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// checkPeerArg is the argument with which this program is the other side of tryVeth.
const checkPeerArg = "check-peer"

const (
	nearAddress, nearAddress6 = "192.0.2.129/25", "2001:db8:1::1/64"
	farAddress, farAddress6   = "192.0.2.130/25", "2001:db8:1::2/64"
	checkPort                 = 7007
	greeting                  = "hello from the other namespace"
	checkSeconds              = 20
)

// tryVeth starts the peer in a second namespace, gives it one end of a veth pair, and connects to it over both
// families.
func tryVeth() error {
	peer := exec.Command("/proc/self/exe", checkPeerArg)
	peer.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	peer.Stderr = os.Stderr
	say, err := peer.StdinPipe()
	if err != nil {
		return err
	}
	hear, err := peer.StdoutPipe()
	if err != nil {
		return err
	}
	if err := peer.Start(); err != nil {
		return err
	}
	defer func() {
		say.Close() // the peer ends with its input
		peer.Wait()
	}()
	if err := calls(
		"ip link add name near type veth peer name far",
		fmt.Sprintf("ip link set far netns %d", peer.Process.Pid),
		"ip addr add "+nearAddress+" dev near", "ip addr add "+nearAddress6+" dev near nodad", "ip link set near up",
	); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(say, "far is there"); err != nil {
		return err
	}
	answer, err := bufio.NewReader(hear).ReadString('\n')
	if err != nil || strings.TrimSpace(answer) != "listening" {
		return fmt.Errorf("the peer said %q (%v)", answer, err)
	}
	return errors.Join(greets(farAddress), greets(farAddress6))
}

// greets connects and expects the greeting. The link may need a moment to carry: the kernel repeats the SYN.
//
// The sockets here are bare ones because the package net would link this program to the C library, and a guest's init
// has no libraries.
func greets(prefix string) error {
	address := netip.MustParsePrefix(prefix).Addr()
	socket, err := tcpSocket(address)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	if err := unix.Connect(socket, socketAddress(address)); err != nil {
		return fmt.Errorf("connect to %s: %w", address, err)
	}
	var got []byte
	buffer := make([]byte, 256)
	for {
		n, err := unix.Read(socket, buffer)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read from %s: %w", address, err)
		}
		if n == 0 {
			break
		}
		got = append(got, buffer[:n]...)
	}
	if string(got) != greeting {
		return fmt.Errorf("%s said %q", address, got)
	}
	return nil
}

// tcpSocket returns a blocking socket on which nothing lasts longer than checkSeconds.
func tcpSocket(address netip.Addr) (int, error) {
	family := unix.AF_INET
	if address.Is6() {
		family = unix.AF_INET6
	}
	socket, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	limit := unix.Timeval{Sec: checkSeconds}
	for _, option := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} {
		if err := unix.SetsockoptTimeval(socket, unix.SOL_SOCKET, option, &limit); err != nil {
			unix.Close(socket)
			return 0, err
		}
	}
	return socket, nil
}

func socketAddress(address netip.Addr) unix.Sockaddr {
	if address.Is4() {
		return &unix.SockaddrInet4{Port: checkPort, Addr: address.As4()}
	}
	return &unix.SockaddrInet6{Port: checkPort, Addr: address.As16()}
}

// checkPeer waits for its link, listens, says so, and ends when its input does.
func checkPeer() int {
	if err := servePeer(bufio.NewReader(os.Stdin)); err != nil {
		fmt.Fprintln(os.Stderr, "lab: peer:", err)
		return 1
	}
	return 0
}

func servePeer(in *bufio.Reader) error {
	if _, err := in.ReadString('\n'); err != nil {
		return err
	}
	if err := calls("ip addr add "+farAddress+" dev far",
		"ip addr add "+farAddress6+" dev far nodad", "ip link set far up"); err != nil {
		return err
	}
	// A socket bound to the unspecified IPv6 address takes both families.
	listener, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(listener)
	if err := unix.Bind(listener, socketAddress(netip.IPv6Unspecified())); err != nil {
		return err
	}
	if err := unix.Listen(listener, 8); err != nil {
		return err
	}
	go greetAll(listener)
	fmt.Println("listening")
	_, err = in.ReadString('\n')
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func greetAll(listener int) {
	for {
		conn, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return
		}
		unix.Write(conn, []byte(greeting))
		unix.Close(conn)
	}
}
