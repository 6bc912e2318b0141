package hashing

import "math/bits"

const (
	// maglevSlotCount is IP_VS_MH_TAB_SIZE, the fifth of the kernel's primes.
	maglevSlotCount = 4093
	// maglevTurnBits bounds how many slots a real server takes in one turn (IP_VS_MH_TAB_BITS).
	maglevTurnBits = 6
)

// The keys of generate_hash_secret.
const (
	maglevKey1 = 2654435761
	maglevKey2 = 2654446892
)

// maglevSlots lets the real servers take turns, in the order of the list: each takes the next free slots of its own
// permutation, as many as its weight says (ip_vs_mh_permutate, ip_vs_mh_populate). Those without a last weight take
// none.
func maglevSlots(list []RealServer) []int16 {
	slots := make([]int16, maglevSlotCount)
	for i := range slots {
		slots[i] = -1
	}
	type place struct {
		index      int16
		slot, skip uint32
		turns      int
	}
	var places []place
	divisor, shift := maglevScale(list)
	for i, r := range list {
		if r.LastWeight == 0 {
			continue
		}
		key := fold(r.Addr) + uint32(r.Port)
		places = append(places, place{
			int16(i), maglevHash(key, 0), hsiphash(key, maglevKey2)%(maglevSlotCount-1) + 1,
			max(int(r.LastWeight/divisor>>shift), 1),
		})
	}
	for taken := 0; len(places) > 0; {
		for i := range places {
			p := &places[i]
			for range p.turns {
				for slots[p.slot] >= 0 {
					p.slot = (p.slot + p.skip) % maglevSlotCount
				}
				slots[p.slot] = p.index
				if taken++; taken == maglevSlotCount {
					return slots
				}
			}
		}
	}
	return slots
}

// maglevScale returns the greatest common divisor of the weights, and by how many bits they are shifted after division
// by it so that the largest has maglevTurnBits.
func maglevScale(list []RealServer) (divisor uint32, shift int) {
	largest := uint32(0)
	for _, r := range list {
		divisor, largest = gcd(r.LastWeight, divisor), max(largest, r.LastWeight)
	}
	if divisor == 0 {
		return 1, 0
	}
	return divisor, max(0, bits.Len32(largest/divisor)-maglevTurnBits)
}

func gcd(a, b uint32) uint32 {
	for b > 0 {
		a, b = b, a%b
	}
	return a
}

// maglevHash is ip_vs_mh_hashkey.
func maglevHash(key, offset uint32) uint32 { return hsiphash(key+offset, maglevKey1) % maglevSlotCount }

// hsiphash is the kernel's hsiphash_1u32 on 64-bit machines with both halves of the key alike: SipHash-1-3 of four
// bytes, cut to 32 bits (lib/siphash.c).
func hsiphash(first uint32, key uint64) uint32 {
	v0, v1, v2, v3 := 0x736f6d6570736575^key, 0x646f72616e646f6d^key, 0x6c7967656e657261^key, 0x7465646279746573^key
	round := func() {
		v0 += v1
		v2 += v3
		v1, v3 = bits.RotateLeft64(v1, 13)^v0, bits.RotateLeft64(v3, 16)^v2
		v0 = bits.RotateLeft64(v0, 32) + v3
		v2 += v1
		v3, v1 = bits.RotateLeft64(v3, 21)^v0, bits.RotateLeft64(v1, 17)^v2
		v2 = bits.RotateLeft64(v2, 32)
	}
	block := 4<<56 | uint64(first) // the length, and the bytes
	v3 ^= block
	round()
	v0 ^= block
	v2 ^= 0xff
	for range 3 {
		round()
	}
	return uint32(v0 ^ v1 ^ v2 ^ v3)
}
