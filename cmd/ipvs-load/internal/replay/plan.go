package replay

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	wire "github.com/ipvs-proxier/ipvs-proxier/internal/ipvs"
	"github.com/ipvs-proxier/ipvs-proxier/internal/netlink"
)

// step is adjacent messages of one protocol, which can go out in few system calls.
type step struct {
	protocol uint16
	batch    *netlink.Batch
}

// message is one out of a Record.
type message struct {
	protocol, kind, flags uint16
	payload               []byte
}

// changes says whether the message belongs to a replay: those of IPVS, rtnetlink and ipset that change something. The
// rules of nftables are left out; a proxy writes them by iptables-restore, which is a process, and iptables' old tables
// are not written by netlink at all.
func (m message) changes(ipvs uint16) bool {
	switch m.protocol {
	case unix.NETLINK_GENERIC:
		if m.kind != ipvs || len(m.payload) == 0 {
			return false
		}
		switch m.payload[0] { // the others: IPVS_CMD_GET_DAEMON, SET_INFO, GET_INFO
		case wire.GetService, wire.GetDestination, wire.GetConfig, 11, 14, 15:
			return false
		}
		return true
	case unix.NETLINK_ROUTE:
		return m.kind%4 != unix.RTM_GETLINK%4
	case unix.NETLINK_NETFILTER:
		const ipset = 6 // NFNL_SUBSYS_IPSET
		switch command := m.kind & 0xff; command {
		case 2, 3, 4, 5, 6, 9, 10: // IPSET_CMD_CREATE, DESTROY, FLUSH, RENAME, SWAP, ADD, DEL
			return m.kind>>8 == ipset
		}
	}
	return false
}

func messages(records []Record, ipvs uint16) (all []message) {
	for _, r := range records {
		for data := r.Messages; len(data) >= unix.SizeofNlMsghdr; {
			size := int(binary.NativeEndian.Uint32(data))
			if size < unix.SizeofNlMsghdr || size > len(data) {
				break
			}
			m := message{
				r.Protocol, binary.NativeEndian.Uint16(data[4:]), binary.NativeEndian.Uint16(data[6:]),
				data[unix.SizeofNlMsghdr:size],
			}
			if m.changes(ipvs) {
				all = append(all, m)
			}
			data = data[min(len(data), (size+3)&^3):]
		}
	}
	return all
}

// plan lays the messages out in the order in which they came. A link that is made gets the number that the messages
// after it call it by.
func plan(all []message) (steps []step) {
	index := linkIndex(all)
	for _, m := range all {
		if len(steps) == 0 || steps[len(steps)-1].protocol != m.protocol {
			steps = append(steps, step{m.protocol, &netlink.Batch{}})
		}
		payload := m.payload
		const indexAt = 4 // of struct ifinfomsg
		if m.makesLink() && index != 0 && binary.NativeEndian.Uint32(payload[indexAt:]) == 0 {
			payload = append([]byte(nil), payload...)
			binary.NativeEndian.PutUint32(payload[indexAt:], index)
			index = 0
		}
		b := steps[len(steps)-1].batch
		b.Begin(m.kind, m.flags&^unix.NLM_F_ACK)
		b.Raw(payload...)
		b.Raw(make([]byte, (4-len(payload)%4)%4)...)
		b.End()
	}
	return steps
}

func (m message) makesLink() bool {
	return m.protocol == unix.NETLINK_ROUTE && m.kind == unix.RTM_NEWLINK && m.flags&unix.NLM_F_CREATE != 0 &&
		len(m.payload) >= unix.SizeofIfInfomsg
}

// linkIndex is the number by which addresses and routes call their link; 0 when there are none.
func linkIndex(all []message) (index uint32) {
	for _, m := range all {
		switch {
		case m.protocol != unix.NETLINK_ROUTE:
		case m.kind == unix.RTM_NEWADDR && len(m.payload) >= unix.SizeofIfAddrmsg:
			return binary.NativeEndian.Uint32(m.payload[4:])
		case m.kind == unix.RTM_NEWROUTE && len(m.payload) >= unix.SizeofRtMsg:
			netlink.Attributes(m.payload[unix.SizeofRtMsg:], func(attr uint16, value []byte) {
				if attr == unix.RTA_OIF {
					index = netlink.Uint32(value)
				}
			})
			if index != 0 {
				return index
			}
		}
	}
	return 0
}
