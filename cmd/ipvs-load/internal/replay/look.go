package replay

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	wire "github.com/ipvs-proxier/ipvs-proxier/internal/ipvs"
	"github.com/ipvs-proxier/ipvs-proxier/internal/netlink"
)

// Look is the time that it takes to read a dataplane, without making anything of it.
type Look struct {
	Services  int     `json:"virtual_servers"`
	Addresses int     `json:"addresses_and_routes"`
	Sets      int     `json:"set_buffers"`
	Took      float64 `json:"took_s"`
}

const ipsetList, ipsetProtocolAttr, ipsetProto = 6<<8 | 7, 1, 6

// look dumps the virtual servers, the real servers of each (those of IPv4 by getsockopt), addresses, routes, and sets
// with their entries.
func look(sockets map[uint16]*netlink.Socket, family uint16) (l Look, err error) {
	began := time.Now()
	defer func() { l.Took = time.Since(began).Seconds() }()
	var b netlink.Batch
	var keys []wire.Key
	wire.Begin(&b, family, wire.GetService, unix.NLM_F_DUMP)
	b.End()
	err = sockets[unix.NETLINK_GENERIC].Dump(&b, func() { keys = keys[:0] }, func(payload []byte) {
		if s, ok := wire.ParseService(payload); ok {
			keys = append(keys, s.Key)
		}
	})
	if err != nil {
		return l, fmt.Errorf("dump virtual servers: %w", err)
	}
	l.Services = len(keys)
	reader, err := wire.NewReader(64)
	if err == nil {
		defer reader.Close()
	}
	for _, key := range keys {
		if reader != nil && key.Addr.Is4() {
			if err := reader.Destinations(key, func(wire.Destination) {}); err != nil {
				return l, fmt.Errorf("list real servers: %w", err)
			}
			continue
		}
		b.Reset()
		wire.Begin(&b, family, wire.GetDestination, unix.NLM_F_DUMP)
		key.Nest(&b, nil)
		b.End()
		if err := sockets[unix.NETLINK_GENERIC].Dump(&b, func() {}, func([]byte) {}); err != nil {
			return l, fmt.Errorf("dump real servers: %w", err)
		}
	}
	for _, kind := range []uint16{unix.RTM_GETADDR, unix.RTM_GETROUTE} {
		b.Reset()
		b.Begin(kind, unix.NLM_F_DUMP)
		b.Raw(make([]byte, unix.SizeofRtMsg)...)
		b.End()
		n := 0
		if err := sockets[unix.NETLINK_ROUTE].Dump(&b, func() { n = 0 }, func([]byte) { n++ }); err != nil {
			return l, fmt.Errorf("dump addresses and routes: %w", err)
		}
		l.Addresses += n
	}
	b.Reset()
	b.Begin(ipsetList, unix.NLM_F_DUMP)
	b.Raw(0, 0, 0, 0)
	b.Uint8(ipsetProtocolAttr, ipsetProto)
	b.End()
	if err := sockets[unix.NETLINK_NETFILTER].Dump(&b, func() { l.Sets = 0 }, func([]byte) { l.Sets++ }); err != nil {
		return l, fmt.Errorf("dump sets: %w", err)
	}
	return l, nil
}
