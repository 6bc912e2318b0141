package scheduler

import (
	"cmp"
	"slices"
)

func init() {
	Register(Scheduler{
		Name:      "sh",
		Aliases:   []string{"source-hash", "source-hashing", "sourcehash"},
		Kernel:    "sh",
		Summary:   "Source hash: a client's address decides, so that a client stays with its endpoint. Good for caches per client; mh moves fewer clients when endpoints change.",
		Weighted:  true,
		Supported: Fallback | Port,
		Default:   Fallback,
		Order:     Canonical,
		Idle:      IdleLast,
		Places:    sourceHashBuckets,
		Weigh:     func(_ Place, endpoints []Endpoint) []uint32 { return apportion(sourceHashBuckets, endpoints) },
	})
}

// sourceHashBuckets is the size of the kernel's table (CONFIG_IP_VS_SH_TAB_BITS, 8 unless a kernel was built
// otherwise). The kernel goes through its list, and gives each real server as many buckets in a row as its weight says,
// at weight 0 one. It starts over until the table is full (net/netfilter/ipvs/ip_vs_sh.c, ip_vs_sh_reassign, Linux
// 6.12).
//
// So weights as they are would give the first endpoints all buckets where they are large. Weights whose sum is the size
// of the table give each endpoint its share, and leave none for those of weight 0 behind them.
const sourceHashBuckets = 256

// apportion divides buckets among the endpoints by their weights, by the largest remainder, the earlier one first where
// they are equal. Where there are enough, every endpoint with a weight gets at least one; else the first ones do.
func apportion(buckets uint32, endpoints []Endpoint) []uint32 {
	shares := make([]uint32, len(endpoints))
	var left []int // with a weight and not yet settled
	var total uint64
	for i, e := range endpoints {
		if e.Weight > 0 {
			left = append(left, i)
			total += uint64(e.Weight)
		}
	}
	// Those whose share is less than one bucket get one, and the others divide the rest.
	free := uint64(buckets)
	for settled := true; settled && free > 0; {
		settled = false
		rest := left[:0:0]
		for _, i := range left {
			if w := uint64(endpoints[i].Weight); free > 0 && w*free < total {
				shares[i], settled = 1, true
				free--
				total -= w
			} else {
				rest = append(rest, i)
			}
		}
		left = rest
	}
	return remainders(shares, left, free, total, endpoints)
}

func remainders(shares []uint32, among []int, free, total uint64, endpoints []Endpoint) []uint32 {
	if total == 0 || free == 0 {
		return markFull(shares, endpoints)
	}
	given := uint64(0)
	remainder := map[int]uint64{}
	for _, i := range among {
		exact := uint64(endpoints[i].Weight) * free
		shares[i], remainder[i] = uint32(exact/total), exact%total
		given += exact / total
	}
	slices.SortStableFunc(among, func(a, b int) int { return cmp.Compare(remainder[b], remainder[a]) })
	for _, i := range among[:min(free-given, uint64(len(among)))] {
		shares[i]++
	}
	return markFull(shares, endpoints)
}

// markFull gives endpoints for which no bucket is left the weight 1: at weight 0 they would count as draining.
func markFull(shares []uint32, endpoints []Endpoint) []uint32 {
	for i, e := range endpoints {
		if e.Weight > 0 {
			shares[i] = max(shares[i], 1)
		}
	}
	return shares
}
