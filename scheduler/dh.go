package scheduler

import (
	"encoding/binary"
	"net/netip"
)

func init() {
	Register(Scheduler{
		Name:    "dh",
		Aliases: []string{"destination-hash", "destination-hashing", "desthash"},
		Kernel:  "dh",
		Summary: "Destination hash: the address of the Service decides, so that one endpoint gets everything, the same on every node.",
		Caution: "dh goes by the destination address, and a virtual server of a Service has one address: one endpoint gets all of its connections",
		Order:   Canonical,
		Idle:    IdleAside,
	})
}

// DestinationHashPlace returns the bucket of dh's table, 0 to 255, that serves the address. The kernel gives the
// buckets to its list in turn, whatever the weights: place p of n is taken by the one at p modulo n
// (net/netfilter/ipvs/ip_vs_dh.c, ip_vs_dh_hashkey and ip_vs_dh_reassign, Linux 4.18 and later).
func DestinationHashPlace(vip netip.Addr) int {
	const golden, bits = 0x61C88647, 8 // include/linux/hash.h, GOLDEN_RATIO_32; CONFIG_IP_VS_DH_TAB_BITS
	var folded uint32
	for word := vip.AsSlice(); len(word) >= 4; word = word[4:] {
		folded ^= binary.BigEndian.Uint32(word)
	}
	return int(folded * golden >> (32 - bits))
}
