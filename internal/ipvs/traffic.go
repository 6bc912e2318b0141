package ipvs

import "github.com/ipvs-proxier/ipvs-proxier/internal/netlink"

// Traffic is what the kernel has counted of a virtual server since it was made: connections, and packets and bytes of
// clients (in) and to them (out). Bytes are those of IP packets.
type Traffic struct {
	Connections                              uint64
	PacketsIn, PacketsOut, BytesIn, BytesOut uint64
}

// ParseTraffic reads the counters of the answer to GetService; those that are not there are 0.
func ParseTraffic(payload []byte) (t Traffic) {
	attributes(payload, AttrService, func(attr uint16, nest []byte) {
		if attr != ServiceStats64 {
			return
		}
		netlink.Attributes(nest, func(attr uint16, value []byte) {
			switch attr {
			case StatsConnections:
				t.Connections = netlink.Uint64(value)
			case StatsPacketsIn:
				t.PacketsIn = netlink.Uint64(value)
			case StatsPacketsOut:
				t.PacketsOut = netlink.Uint64(value)
			case StatsBytesIn:
				t.BytesIn = netlink.Uint64(value)
			case StatsBytesOut:
				t.BytesOut = netlink.Uint64(value)
			}
		})
	})
	return t
}
