package control

import (
	"fmt"

	"github.com/vishvananda/netlink"
)

// monitorName is the link that counts.
const monitorName = "ipvs-load-nlm"

// monitor counts what passes over netlink in this network namespace, by an nlmon link (drivers/net/nlmon.c), which gets a copy of every
// socket buffer in either direction: several messages that were sent at once are one packet, and the bytes are theirs.
type monitor struct{ link netlink.Link }

func newMonitor() (*monitor, error) {
	m := &monitor{link: &netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Name: monitorName}, LinkType: "nlmon"}}
	if err := netlink.LinkAdd(m.link); err != nil {
		return nil, fmt.Errorf("add an nlmon link: %w", err)
	}
	if err := netlink.LinkSetUp(m.link); err != nil {
		m.close()
		return nil, fmt.Errorf("set an nlmon link up: %w", err)
	}
	return m, nil
}

// read returns the packets and bytes so far.
func (m *monitor) read() (packets, bytes int64, err error) {
	l, err := netlink.LinkByName(monitorName)
	if err != nil {
		return 0, 0, fmt.Errorf("read the nlmon link: %w", err)
	}
	s := l.Attrs().Statistics
	if s == nil {
		return 0, 0, fmt.Errorf("the nlmon link has no statistics")
	}
	return int64(s.RxPackets), int64(s.RxBytes), nil
}

func (m *monitor) close() { _ = netlink.LinkDel(m.link) }
