// Package testport gives tests TCP ports on which they can rely while other tests, in other processes, take theirs.
package testport

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// lowest is the first port that [Free] may return; daemons of a machine rather listen below it.
const lowest = 10000

// Free returns a TCP port that nobody listens on and that no other caller of Free gets until the test ends.
//
// The port lies below net.ipv4.ip_local_port_range. A port that the kernel chose and the test gave up again would be
// the kernel's to choose once more, for any listener or connection of another process, before the test has used it.
func Free(t testing.TB) uint16 {
	t.Helper()
	first := firstEphemeral(t)
	for range 1000 {
		port := lowest + rand.IntN(first-lowest)
		// A name of a unix socket without a file is one process's, and gone when that process is.
		claim, err := net.Listen("unix", fmt.Sprintf("@ipvs-proxier/testport/%d", port))
		if err != nil {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
		if err != nil {
			claim.Close()
			continue
		}
		l.Close()
		t.Cleanup(func() { claim.Close() })
		return uint16(port)
	}
	t.Fatalf("no free port between %d and %d", lowest, first)
	return 0
}

// firstEphemeral is the first port that the kernel chooses by itself.
func firstEphemeral(t testing.TB) int {
	t.Helper()
	const file = "/proc/sys/net/ipv4/ip_local_port_range"
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	first := 0
	if _, err := fmt.Fscan(bytes.NewReader(b), &first); err != nil || first <= lowest {
		t.Fatalf("%s is %q; tests want ports from %d on that the kernel does not choose (%v)", file, b, lowest, err)
	}
	return first
}

// Refusing returns an address of 127.0.0.1 whose connections are refused until the test ends: a socket that does not
// listen holds its port.
func Refusing(t testing.TB) netip.AddrPort {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	at := netip.MustParseAddr("127.0.0.1")
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: at.As4()}); err != nil {
		t.Fatal(err)
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return netip.AddrPortFrom(at, uint16(bound.(*unix.SockaddrInet4).Port))
}
