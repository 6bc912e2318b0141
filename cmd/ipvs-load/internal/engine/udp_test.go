package engine

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/account"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/target"
)

// udpServer gives each datagram to answer with its number, from 1.
func udpServer(t *testing.T, answer func(c *net.UDPConn, n int, token []byte, from netip.AddrPort)) target.Target {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() {
		buf := make([]byte, 1024)
		for n := 1; ; n++ {
			size, from, err := c.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			answer(c, n, bytes.TrimSpace(bytes.TrimPrefix(buf[:size], []byte("ipvs-load/1 "))), from)
		}
	})
	t.Cleanup(func() { c.Close(); done.Wait() })
	return udpTarget(t, c.LocalAddr())
}

func reply(c *net.UDPConn, token []byte, to netip.AddrPort) {
	_, _ = c.WriteToUDPAddrPort(fmt.Appendf(nil, "ipvs-load/1 id=web client=%s token=%s\n", to, token), to)
}

func TestLostDatagramsAreTimeouts(t *testing.T) {
	for _, port := range []UDPPort{Rotate, Fixed} {
		t.Run(string(port), func(t *testing.T) {
			to := udpServer(t, func(c *net.UDPConn, n int, token []byte, from netip.AddrPort) {
				if n%10 != 0 {
					reply(c, token, from)
				}
			})
			c := config(UDPRR, 200, to)
			// Long enough that no answer on a busy machine comes after it, and the run waits for it only once.
			c.UDPPort, c.Timeout = port, time.Second
			r := mustRun(t, c)
			if answered, lost := r.Tally.Kinds[account.Answered], r.Tally.Kinds[account.Timeout]; answered != 180 || lost != 20 {
				t.Errorf("%d answered and %d timeouts, want 180 and 20; kinds %v", answered, lost, r.Tally.Kinds)
			}
			if r.Tally.Latency.Max() < c.Timeout {
				t.Errorf("the largest latency is %v, below the timeout", r.Tally.Latency.Max())
			}
		})
	}
}

func TestSourcePortsRotateOrStay(t *testing.T) {
	for port, few := range map[UDPPort]bool{Rotate: false, Fixed: true} {
		ports := map[uint16]bool{}
		var mu sync.Mutex
		to := udpServer(t, func(c *net.UDPConn, _ int, token []byte, from netip.AddrPort) {
			mu.Lock()
			ports[from.Port()] = true
			mu.Unlock()
			reply(c, token, from)
		})
		c := config(UDPRR, 100, to)
		c.UDPPort = port
		wantKind(t, mustRun(t, c), account.Answered, 100)
		mu.Lock()
		if (len(ports) == 1) != few {
			t.Errorf("%s: the server saw %d ports", port, len(ports))
		}
		mu.Unlock()
	}
}

// TestNoSourcePortComesBackEarly: a port that comes back would be an older flow's to IPVS and connection tracking,
// whose endpoint may be gone. Ports that others have are passed over.
func TestNoSourcePortComesBackEarly(t *testing.T) {
	const requests = 3000 // of 28,232 ports, picked at random, some 150 would be twice among so many
	for _, source := range []string{"", "127.0.0.2"} {
		seen := map[uint16]int{}
		var mu sync.Mutex
		to := udpServer(t, func(c *net.UDPConn, _ int, token []byte, from netip.AddrPort) {
			mu.Lock()
			seen[from.Port()]++
			mu.Unlock()
			reply(c, token, from)
		})
		c := config(UDPRR, requests, to)
		c.UDPPort = Rotate
		if source != "" {
			c.Sources = []netip.Addr{netip.MustParseAddr(source)}
		}
		wantKind(t, mustRun(t, c), account.Answered, requests)
		mu.Lock()
		for port, n := range seen {
			if n > 1 {
				t.Errorf("source %q: port %d was used %d times", source, port, n)
			}
		}
		mu.Unlock()
	}
}

func TestSourcePortsPassOverWhatIsTaken(t *testing.T) {
	taken, err := net.ListenUDP("udp4", &net.UDPAddr{})
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	ports := &sourcePorts{all: []uint16{port}}
	fd, _, err := (&route{protocol: target.UDP, domain: unix.AF_INET}).open(ports)
	if err != nil {
		t.Fatalf("where every port is taken the kernel finds one: %v", err)
	}
	unix.Close(fd)
}

func TestPortsBetween(t *testing.T) {
	for _, tt := range []struct {
		limits, reserved string
		want             []uint16
	}{
		{"32768\t32770\n", "\n", []uint16{32768, 32769, 32770}},
		{"10 15", "11,13-14,99", []uint16{10, 12, 15}},
		{"65534 65535", "", []uint16{65534, 65535}},
		{"0 1", "", []uint16{1}},
		{"", "", nil},
		{"1 65536", "", nil},
	} {
		if got := portsBetween(tt.limits, tt.reserved); !slices.Equal(got, tt.want) {
			t.Errorf("%q without %q: %v, want %v", tt.limits, tt.reserved, got, tt.want)
		}
	}
}

func TestAnswersToNoRequestAreStrays(t *testing.T) {
	for _, port := range []UDPPort{Rotate, Fixed} {
		to := udpServer(t, func(c *net.UDPConn, _ int, token []byte, from netip.AddrPort) {
			reply(c, []byte("ffffffffffffffff"), from)
			reply(c, token, from)
		})
		c := config(UDPRR, 100, to)
		c.UDPPort = port
		r := mustRun(t, c)
		wantKind(t, r, account.Answered, 100)
		if r.Tally.Strays != 100 {
			t.Errorf("%s: %d strays, want one before each answer", port, r.Tally.Strays)
		}
	}
}

func TestAnUnreachablePortIsRefused(t *testing.T) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	to := udpTarget(t, c.LocalAddr())
	c.Close()
	for _, port := range []UDPPort{Rotate, Fixed} {
		c := config(UDPRR, 50, to)
		c.UDPPort = port
		// Several errors that meet in one shared socket are one to its reader; what is left over then times out.
		c.Timeout = 500 * time.Millisecond
		r := mustRun(t, c)
		refused := r.Tally.Kinds[account.Refused]
		if port == Rotate && refused != 50 || refused == 0 || refused+r.Tally.Kinds[account.Timeout] != 50 {
			t.Errorf("%s: %d refused of 50; kinds %v", port, refused, r.Tally.Kinds)
		}
	}
}

// setBacklog changes the queue length of a listener: listen may be called again.
func setBacklog(t *testing.T, l net.Listener, n int) {
	t.Helper()
	raw, err := l.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var set error
	if err := raw.Control(func(fd uintptr) { set = unix.Listen(int(fd), n) }); err != nil || set != nil {
		t.Fatal(err, set)
	}
}
