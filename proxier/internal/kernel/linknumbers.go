package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/internal/netlink"
)

// linkNumbers finds the numbers of links by netlink. An ioctl would be quicker for a link that is there. For one that
// is not, the kernel runs modprobe twice, for modules netdev-NAME and NAME, before it says so (net/core/dev_ioctl.c,
// dev_load, Linux 6.1).
type linkNumbers struct {
	*netlink.Socket
	batch netlink.Batch
}

func newLinkNumbers() (*linkNumbers, error) {
	socket, err := netlink.Dial(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	return &linkNumbers{Socket: socket}, nil
}

// skipStatistics is RTEXT_FILTER_SKIP_STATS (linux/rtnetlink.h): the statistics take the kernel the longest to dump.
const skipStatistics = 1 << 3

// of returns the number of a link, 0 when it does not exist.
func (l *linkNumbers) of(name string) (int, error) {
	l.batch.Reset()
	l.batch.Begin(unix.RTM_GETLINK, 0)
	l.batch.Raw(make([]byte, unix.SizeofIfInfomsg)...)
	l.batch.String(unix.IFLA_IFNAME, name)
	l.batch.Uint32(unix.IFLA_EXT_MASK, skipStatistics)
	l.batch.End()
	answer, err := l.Ask(&l.batch)
	switch {
	case errors.Is(err, unix.ENODEV):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("link %s: %w", name, err)
	case len(answer) < unix.SizeofIfInfomsg:
		return 0, fmt.Errorf("link %s: the kernel's answer has %d bytes", name, len(answer))
	}
	return int(binary.NativeEndian.Uint32(answer[4:])), nil // ifi_index
}
