package control

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/replay"
)

// monitorName is the link that counts.
const monitorName = "ipvs-load-nlm"

// monitor counts what passes over netlink in this network namespace. It has an nlmon link (drivers/net/nlmon.c), which
// gets a copy of every socket buffer in either direction. The link's own counters are of buffers and bytes, and several
// messages that were sent at once are one buffer. So a packet socket on the link takes the buffers that go to the
// kernel, and the messages in them are counted.
type monitor struct {
	link   netlink.Link
	socket int
	ipvs   uint16
	record io.Writer
	buf    []byte

	mu       sync.Mutex
	requests Requests
	lost     uint32
	failed   error

	stop, done chan struct{}
}

const (
	captureBuffer = 256 << 20 // of the packet socket, for what comes while nobody reads
	captureRest   = 100 * time.Millisecond
)

// newMonitor begins to count. The buffers that hold a message that changes something are written to record, unless that
// is nil.
func newMonitor(record io.Writer) (*monitor, error) {
	m := &monitor{
		socket: -1, record: record, buf: make([]byte, replay.MaxBuffer), stop: make(chan struct{}), done: make(chan struct{}),
	}
	attrs := netlink.LinkAttrs{Name: monitorName}
	m.link = &netlink.GenericLink{LinkAttrs: attrs, LinkType: "nlmon"}
	if err := netlink.LinkAdd(m.link); err != nil {
		return nil, fmt.Errorf("add an nlmon link: %w", err)
	}
	if err := m.listen(); err != nil {
		_ = netlink.LinkDel(m.link)
		if m.socket >= 0 {
			unix.Close(m.socket)
		}
		return nil, err
	}
	go m.run()
	return m, nil
}

func (m *monitor) listen() error {
	link, err := netlink.LinkByName(monitorName)
	if err != nil {
		return fmt.Errorf("find the nlmon link: %w", err)
	}
	if family, err := netlink.GenlFamilyGet("IPVS"); err == nil {
		m.ipvs = family.ID
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set the nlmon link up: %w", err)
	}
	// Bound to no protocol until the filter is there; and the link is up before, or the socket begins with an error.
	if m.socket, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
		return fmt.Errorf("open a packet socket: %w", err)
	}
	if err := unix.SetsockoptInt(m.socket, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, captureBuffer); err != nil {
		return fmt.Errorf("enlarge the packet socket's buffer: %w", err)
	}
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: requestByte()},
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: unix.NLM_F_REQUEST, Jt: 0, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: replay.MaxBuffer},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
	if err := unix.SetsockoptSockFprog(m.socket, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{
		Len: uint16(len(filter)), Filter: &filter[0],
	}); err != nil {
		return fmt.Errorf("filter netlink: %w", err)
	}
	if err := unix.Bind(m.socket, &unix.SockaddrLinklayer{
		Protocol: bigEndian(unix.ETH_P_ALL), Ifindex: link.Attrs().Index,
	}); err != nil {
		return fmt.Errorf("listen on the nlmon link: %w", err)
	}
	return nil
}

// requestByte is where a message's header has the lower half of its flags, of which NLM_F_REQUEST is one.
func requestByte() uint32 {
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		return 6
	}
	return 7
}

func bigEndian(v uint16) uint16 { return binary.NativeEndian.Uint16([]byte{byte(v >> 8), byte(v)}) }

// run takes what has come, and rests, so that counting costs the machine little while something is measured.
func (m *monitor) run() {
	defer close(m.done)
	for {
		m.drain()
		select {
		case <-m.stop:
			return
		case <-time.After(captureRest):
		}
	}
}

func (m *monitor) drain() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for {
		n, from, err := unix.Recvfrom(m.socket, m.buf, 0)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return
		case err != nil:
			m.failed = fmt.Errorf("read the nlmon link: %w", err)
			return
		}
		link, ok := from.(*unix.SockaddrLinklayer)
		if !ok {
			continue
		}
		protocol := bigEndian(link.Protocol)
		if wrote := m.requests.add(protocol, m.buf[:n], m.ipvs); wrote && m.record != nil && m.failed == nil {
			m.failed = replay.Write(m.record, replay.Record{Protocol: protocol, Messages: m.buf[:n]})
		}
	}
}

// Traffic is what has passed over netlink.
type Traffic struct {
	Buffers, Bytes int64 // in both directions
	Requests       Requests
}

// read returns the traffic so far.
func (m *monitor) read() (Traffic, error) {
	m.drain()
	l, err := netlink.LinkByName(monitorName)
	if err != nil {
		return Traffic{}, fmt.Errorf("read the nlmon link: %w", err)
	}
	s := l.Attrs().Statistics
	if s == nil {
		return Traffic{}, fmt.Errorf("the nlmon link has no statistics")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if stats, err := unix.GetsockoptTpacketStats(m.socket, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
		m.lost += stats.Drops
	}
	if m.lost > 0 && m.failed == nil {
		m.failed = fmt.Errorf("%d netlink buffers were not seen", m.lost)
	}
	return Traffic{int64(s.RxPackets), int64(s.RxBytes), m.requests.clone()}, m.failed
}

func (m *monitor) close() {
	close(m.stop)
	<-m.done
	unix.Close(m.socket)
	_ = netlink.LinkDel(m.link)
}

// endRecord stops writing records and returns what went wrong with them.
func (m *monitor) endRecord() error {
	m.drain()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.record = nil
	return m.failed
}
