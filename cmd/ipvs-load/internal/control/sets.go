package control

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/internal/netlink"
)

// Count is a set, or a link with addresses, that belongs to a complete dataplane, with the entries that it has at
// least.
type Count struct {
	Name    string
	Entries int
}

func (s Count) String() string { return fmt.Sprintf("%s=%d", s.Name, s.Entries) }

// ParseCount reads NAME=COUNT.
func ParseCount(text string) (Count, error) {
	name, count, found := strings.Cut(text, "=")
	n, err := strconv.Atoi(count)
	if !found || name == "" || len(name) > 31 || err != nil || n < 0 {
		return Count{}, fmt.Errorf("%q must be NAME=COUNT", text)
	}
	return Count{name, n}, nil
}

// ipsets asks how many entries a set has.
type ipsets struct{ socket *netlink.Socket }

const (
	// Of include/uapi/linux/netfilter/ipset/ip_set.h.
	ipsetSubsystem, ipsetProtocol                    = 6, 6
	ipsetCmdList                                     = 7
	ipsetAttrProtocol, ipsetAttrName, ipsetAttrFlags = 1, 2, 6
	ipsetAttrData, ipsetAttrElements                 = 7, 24
	ipsetFlagListHeader                              = 1 << 2 // without the entries
)

func openIPSets() (*ipsets, error) {
	socket, err := netlink.Dial(unix.NETLINK_NETFILTER)
	return &ipsets{socket}, err
}

// count returns -1 for a set that is not there.
func (s *ipsets) count(name string) (int, error) {
	var b netlink.Batch
	b.Begin(ipsetSubsystem<<8|ipsetCmdList, unix.NLM_F_DUMP)
	b.Raw(0, 0, 0, 0)
	b.Uint8(ipsetAttrProtocol, ipsetProtocol)
	b.String(ipsetAttrName, name)
	b.Uint32BE(ipsetAttrFlags|unix.NLA_F_NET_BYTEORDER, ipsetFlagListHeader)
	b.End()
	n := -1
	err := s.socket.Dump(&b, func() { n = -1 }, func(payload []byte) {
		netlink.Attributes(payload[min(4, len(payload)):], func(attr uint16, value []byte) {
			if attr != ipsetAttrData {
				return
			}
			netlink.Attributes(value, func(attr uint16, value []byte) {
				if attr == ipsetAttrElements {
					n = int(netlink.Uint32BE(value))
				}
			})
		})
	})
	if errors.Is(err, unix.ENOENT) {
		return -1, nil
	}
	return n, err
}

// missing says which set has too few entries, or nothing.
func (s *ipsets) missing(want []Count) (string, error) {
	for _, w := range want {
		switch n, err := s.count(w.Name); {
		case err != nil:
			return "", fmt.Errorf("read set %s: %w", w.Name, err)
		case n < w.Entries:
			return fmt.Sprintf("set %s has %d entries of %d", w.Name, max(n, 0), w.Entries), nil
		}
	}
	return "", nil
}
