package control

import (
	"errors"
	"fmt"

	vishvananda "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/internal/netlink"
)

// vips counts the addresses that are local by a link: each address on it has such a route, and a proxy may make the
// route alone.
type vips struct{ socket *netlink.Socket }

func openVIPs() (*vips, error) {
	socket, err := netlink.Dial(unix.NETLINK_ROUTE)
	return &vips{socket}, err
}

// count is -1 when there is no such link.
func (v *vips) count(link string, v6 bool) (int, error) {
	l, err := vishvananda.LinkByName(link)
	if missing := (vishvananda.LinkNotFoundError{}); errors.As(err, &missing) {
		return -1, nil
	}
	if err != nil {
		return 0, fmt.Errorf("find link %s: %w", link, err)
	}
	var b netlink.Batch
	b.Begin(unix.RTM_GETROUTE, unix.NLM_F_DUMP)
	head := make([]byte, unix.SizeofRtMsg)
	head[0] = unix.AF_INET
	if v6 {
		head[0] = unix.AF_INET6
	}
	b.Raw(head...)
	b.End()
	n := 0
	err = v.socket.Dump(&b, func() { n = 0 }, func(payload []byte) {
		// struct rtmsg: table at 4, type at 7.
		if len(payload) < unix.SizeofRtMsg || payload[4] != unix.RT_TABLE_LOCAL || payload[7] != unix.RTN_LOCAL {
			return
		}
		netlink.Attributes(payload[unix.SizeofRtMsg:], func(attr uint16, value []byte) {
			if attr == unix.RTA_OIF && int(netlink.Uint32(value)) == l.Attrs().Index {
				n++
			}
		})
	})
	if err != nil {
		return 0, fmt.Errorf("count local routes: %w", err)
	}
	return n, nil
}
