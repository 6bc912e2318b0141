package hashing

// sourceHashBuckets is IP_VS_SH_TAB_SIZE.
const sourceHashBuckets = 256

// sourceHashSlots deals the buckets out in the order of the list (ip_vs_sh_reassign). Each real server gets as many in
// a row as its weight says, at least one, and the list begins again until all are given.
func sourceHashSlots(list []RealServer) []int16 {
	slots := make([]int16, sourceHashBuckets)
	next, given := 0, uint32(0)
	for i := range slots {
		if len(list) == 0 {
			slots[i] = -1
			continue
		}
		slots[i] = int16(next)
		if given++; given >= list[next].Weight {
			next, given = (next+1)%len(list), 0
		}
	}
	return slots
}

// sourceHash is ip_vs_sh_hashkey, of which hash_32 (include/linux/hash.h) is multiplication by the golden ratio.
func sourceHash(key, offset uint32) uint32 {
	const goldenRatio = 0x61C88647
	return (offset + key*goldenRatio>>24) % sourceHashBuckets
}
