package control

import (
	"errors"
	"fmt"
	"net/netip"

	vishvananda "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	wire "github.com/ipvs-proxier/ipvs-proxier/internal/ipvs"
	"github.com/ipvs-proxier/ipvs-proxier/internal/netlink"
)

// ipvs asks the kernel about one virtual server, or how many there are. That is cheap enough for every millisecond.
// IPv4 is asked by getsockopt, one system call. IPv6 is asked by netlink, and so is IPv4 where a word has not 64 bits.
type ipvs struct {
	reader *wire.Reader // nil where it is not used
	socket *netlink.Socket
	family uint16 // the number of generic netlink's family
}

// openIPVS opens it for virtual servers with up to that many real servers.
func openIPVS(endpoints int, v6 bool) (*ipvs, error) {
	if !v6 {
		if reader, err := wire.NewReader(2*endpoints + 8); err == nil { // those that drain are there, too
			return &ipvs{reader: reader}, nil
		}
	}
	family, err := vishvananda.GenlFamilyGet(wire.FamilyName)
	if err != nil {
		return nil, fmt.Errorf("find the kernel's IPVS: %w", err)
	}
	socket, err := netlink.Dial(unix.NETLINK_GENERIC)
	return &ipvs{socket: socket, family: family.ID}, err
}

func (k *ipvs) close() {
	if k.reader != nil {
		k.reader.Close()
	}
	if k.socket != nil {
		k.socket.Close()
	}
}

// count is the number of virtual servers of IPv4 in this network namespace; counted is false where the kernel cannot be
// asked so.
func (k *ipvs) count() (n int, counted bool, err error) {
	if k.reader == nil {
		return 0, false, nil
	}
	n, err = k.reader.Services()
	return n, err == nil, err
}

// real lists the real servers with a weight above 0 of one virtual server of TCP; found is false when there is no such
// virtual server. Netlink shows one that is not there as one without real servers.
func (k *ipvs) real(of netip.AddrPort) (real []netip.AddrPort, found bool, err error) {
	key := wire.Key{Protocol: unix.IPPROTO_TCP, Addr: of.Addr(), Port: of.Port()}
	add := func(d wire.Destination) {
		if d.Weight > 0 {
			real = append(real, netip.AddrPortFrom(d.Addr, d.Port))
		}
	}
	if k.reader != nil {
		err := k.reader.Destinations(key, add)
		if errors.Is(err, unix.ESRCH) {
			return nil, false, nil
		}
		return real, err == nil, err
	}
	var b netlink.Batch
	wire.Begin(&b, k.family, wire.GetDestination, unix.NLM_F_DUMP)
	key.Nest(&b, nil)
	b.End()
	err = k.socket.Dump(&b, func() { real = real[:0] }, func(payload []byte) {
		if d, ok := wire.ParseDestination(payload, key); ok {
			add(d)
		}
	})
	return real, err == nil && len(real) > 0, err
}
