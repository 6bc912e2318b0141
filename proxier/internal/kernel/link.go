package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	vnl "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	wire "github.com/ipvs-proxier/ipvs-proxier/internal/ipvs"
	"github.com/ipvs-proxier/ipvs-proxier/internal/netlink"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// link is the dummy link with its addresses, and what may stand in their place, routes. It is never set up: the kernel
// makes the local routes of its addresses all the same, and answers for them on other links.
type link struct {
	name    string
	ignore  []string // links whose addresses are nobody's
	numbers *linkNumbers
	socket  *netlink.Socket
	batch   netlink.Batch
}

func newLink(name string, ignore []string) (*link, error) {
	socket, err := netlink.Dial(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	socket.FilterDumps()
	numbers, err := newLinkNumbers()
	if err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	return &link{name: name, ignore: ignore, numbers: numbers, socket: socket}, nil
}

func (l *link) close() error { return errors.Join(l.numbers.Close(), l.socket.Close()) }

// messages and sends count the requests and the system calls that carried them.
func (l *link) messages() uint64 { return l.numbers.Messages + l.socket.Messages }
func (l *link) sends() uint64    { return l.numbers.Sends + l.socket.Sends }

func (l *link) create() error {
	attrs := vnl.NewLinkAttrs()
	attrs.Name = l.name
	return vnl.LinkAdd(&vnl.Dummy{LinkAttrs: attrs})
}

func (l *link) delete() error {
	found, err := vnl.LinkByName(l.name)
	if err != nil {
		return fmt.Errorf("%w: %w", unix.ENODEV, err)
	}
	if found.Type() != "dummy" {
		return fmt.Errorf("link %s is a %s, not a dummy: it is not ours to delete", l.name, found.Type())
	}
	return vnl.LinkDel(found)
}

// index returns the link's number, 0 when it does not exist.
func (l *link) index() (int, error) { return l.numbers.of(l.name) }

// observe returns whether the link exists, its addresses, and the addresses of all other links on which node ports are
// served. Those of ignored links, IPv6 link-local and loopback addresses are nobody's. One dump serves all: a dump for
// each link grows with their square.
func (l *link) observe() (present bool, ours, others []netip.Addr, err error) {
	index, err := l.index()
	if err != nil {
		return false, nil, nil, err
	}
	var ignored []int
	for _, name := range l.ignore {
		i, err := l.numbers.of(name)
		if err != nil {
			return false, nil, nil, err
		}
		ignored = append(ignored, i)
	}
	l.batch.Reset()
	l.batch.Begin(unix.RTM_GETADDR, 0)
	l.batch.Raw(make([]byte, unix.SizeofIfAddrmsg)...)
	l.batch.End()
	err = l.socket.Dump(&l.batch, func() { ours, others = nil, nil }, func(payload []byte) {
		on, addr := parseAddress(payload)
		switch {
		case !addr.IsValid() || addr.IsLoopback() || addr.Is6() && addr.IsLinkLocalUnicast():
		case on == index:
			ours = append(ours, addr)
		case !slices.Contains(ignored, on):
			others = append(others, addr)
		}
	})
	return index != 0, ours, sortAddrs(others), err
}

// addressesOf reads the addresses of one link into to.
func (l *link) addressesOf(index int, to map[netip.Addr]struct{}) error {
	header := make([]byte, unix.SizeofIfAddrmsg)
	binary.NativeEndian.PutUint32(header[4:], uint32(index))
	l.batch.Reset()
	l.batch.Begin(unix.RTM_GETADDR, 0)
	l.batch.Raw(header...)
	l.batch.End()
	return l.socket.Dump(&l.batch, func() { clear(to) }, func(payload []byte) {
		if on, addr := parseAddress(payload); on == index && addr.IsValid() {
			to[addr] = struct{}{}
		}
	})
}

func parseAddress(payload []byte) (index int, addr netip.Addr) {
	if len(payload) < unix.SizeofIfAddrmsg {
		return 0, addr
	}
	index = int(binary.NativeEndian.Uint32(payload[4:]))
	netlink.Attributes(payload[unix.SizeofIfAddrmsg:], func(attr uint16, value []byte) {
		// IFA_LOCAL is the address itself where there is a peer; IPv6 without a peer has IFA_ADDRESS only.
		if attr == unix.IFA_LOCAL || attr == unix.IFA_ADDRESS && !addr.IsValid() {
			addr, _ = netip.AddrFromSlice(value)
		}
	})
	return index, addr
}

// applyAddresses adds and deletes addresses of the link, many to a system call.
func (l *link) applyAddresses(ops []dataplane.Op) []error {
	index, err := l.index()
	if err == nil && index == 0 {
		err = fmt.Errorf("there is no link %s: %w", l.name, unix.ENODEV)
	}
	if err != nil {
		errs := make([]error, len(ops))
		for i := range errs {
			errs[i] = err
		}
		return errs
	}
	l.batch.Reset()
	for _, op := range ops {
		l.address(op.Verb, op.Object.(dataplane.Address).Addr, index)
	}
	return l.socket.Execute(&l.batch)
}

func (l *link) address(verb dataplane.Verb, addr netip.Addr, index int) {
	kind, flags := uint16(unix.RTM_NEWADDR), uint16(unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	if verb == dataplane.Delete {
		kind, flags = unix.RTM_DELADDR, 0
	}
	l.batch.Begin(kind, flags)
	header := []byte{byte(wire.AddressFamily(addr)), byte(addr.BitLen()), 0, unix.RT_SCOPE_UNIVERSE}
	if addr.Is6() {
		header[2] = unix.IFA_F_NODAD // nobody else may answer for it, so there is nothing to wait for
	}
	l.batch.Raw(binary.NativeEndian.AppendUint32(header, uint32(index))...)
	l.batch.Bytes(unix.IFA_LOCAL, addr.AsSlice())
	l.batch.Bytes(unix.IFA_ADDRESS, addr.AsSlice())
	l.batch.End()
}
