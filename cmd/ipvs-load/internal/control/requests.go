package control

import (
	"encoding/binary"
	"fmt"
	"maps"

	"golang.org/x/sys/unix"
)

// Requests counts netlink messages to the kernel, of all processes in a network namespace.
type Requests struct {
	Messages int64
	// Writes are those that change something, by what they change: "ipvs new-dest", "ipset add", "route new-addr".
	Writes map[string]int64
}

func (r *Requests) clone() Requests { return Requests{r.Messages, maps.Clone(r.Writes)} }

// minus is what has come since.
func (r *Requests) minus(before Requests) Requests {
	d := Requests{Messages: r.Messages - before.Messages, Writes: map[string]int64{}}
	for kind, n := range r.Writes {
		if n -= before.Writes[kind]; n > 0 {
			d.Writes[kind] = n
		}
	}
	return d
}

// Sum of the writes.
func (r *Requests) Sum() (n int64) {
	for _, of := range r.Writes {
		n += of
	}
	return n
}

// add counts the messages of one socket buffer, and reports whether one of them is a write. ipvs is the number of IPVS
// among generic netlink's families.
func (r *Requests) add(protocol uint16, buffer []byte, ipvs uint16) (wrote bool) {
	eachMessage(buffer, func(kind, flags uint16, payload []byte) {
		name, write, known := classify(protocol, kind, payload, ipvs)
		if !known || flags&unix.NLM_F_REQUEST == 0 {
			return
		}
		r.Messages++
		if write {
			if r.Writes == nil {
				r.Writes = map[string]int64{}
			}
			r.Writes[name]++
			wrote = true
		}
	})
	return wrote
}

func eachMessage(buffer []byte, each func(kind, flags uint16, payload []byte)) {
	for len(buffer) >= unix.SizeofNlMsghdr {
		size := int(binary.NativeEndian.Uint32(buffer))
		if size < unix.SizeofNlMsghdr || size > len(buffer) {
			return
		}
		each(binary.NativeEndian.Uint16(buffer[4:]), binary.NativeEndian.Uint16(buffer[6:]), buffer[unix.SizeofNlMsghdr:size])
		buffer = buffer[min(len(buffer), (size+3)&^3):]
	}
}

// The commands of generic netlink's IPVS (include/uapi/linux/ip_vs.h, IPVS_CMD_*), those of ipset (ip_set.h, enum
// ipset_cmd), and what rtnetlink's messages are about, four to each. An empty one changes nothing.
var (
	ipvsWrites = []string{1: "new-service", 2: "set-service", 3: "del-service", 5: "new-dest", 6: "set-dest",
		7: "del-dest", 9: "new-daemon", 10: "del-daemon",
		12: "set-config", 16: "zero", 17: "flush"}
	ipsetWrites = []string{2: "create", 3: "destroy", 4: "flush", 5: "rename", 6: "swap", 9: "add", 10: "del"}
	routeAbout  = []string{"link", "addr", "route", "neigh", "rule", "qdisc", "class", "filter"}
)

const (
	nfnlConntrack, nfnlIPSet, nfnlTables = 1, 6, 10 // NFNL_SUBSYS_*
	nfnlBatchBegin, nfnlBatchEnd         = 16, 17
)

// classify names a request and says whether it changes something. What frames a transaction is not known.
func classify(protocol, kind uint16, payload []byte, ipvs uint16) (name string, write, known bool) {
	if kind < unix.NLMSG_MIN_TYPE {
		return "", false, false
	}
	at := func(names []string, i int) (string, bool) {
		return names[min(i, len(names)-1)], i < len(names) && names[i] != ""
	}
	switch protocol {
	case unix.NETLINK_GENERIC:
		if kind != ipvs || len(payload) == 0 {
			return "generic", false, true
		}
		name, write = at(ipvsWrites, int(payload[0]))
		return "ipvs " + name, write, true
	case unix.NETLINK_ROUTE:
		about, found := at(routeAbout, int(kind-16)/4)
		if !found {
			about = "other"
		}
		verb := []string{"new", "del", "get", "set"}[kind%4]
		return "route " + verb + "-" + about, verb != "get", true
	case unix.NETLINK_NETFILTER:
		if kind == nfnlBatchBegin || kind == nfnlBatchEnd {
			return "", false, false
		}
		switch command := kind & 0xff; kind >> 8 {
		case nfnlIPSet:
			name, write = at(ipsetWrites, int(command))
			return "ipset " + name, write, true
		case nfnlConntrack: // new, get, delete, and other ways to get
			return fmt.Sprint("conntrack ", command), command == 0 || command == 2, true
		case nfnlTables:
			// New, get, delete of each. 15 and 16 are about generations, and from 18 on newer objects have the same
			// order.
			if command == 15 || command == 16 || command == 17 {
				return "nftables", false, true
			}
			return "nftables change", command%3 != 1 && command < 18 || command >= 18 && command%3 != 1, true
		}
		return "netfilter", false, true
	}
	return "other", false, true
}
