package netlink

import "encoding/binary"

// The numbers of attributes: Uint16 and Uint32 in the machine's byte order, those with BE in network byte order. A
// value that is too short is 0: the kernel sends none.

// Uint8 reads one byte.
func Uint8(value []byte) uint8 {
	if len(value) < 1 {
		return 0
	}
	return value[0]
}

// Uint16 reads two bytes.
func Uint16(value []byte) uint16 {
	if len(value) < 2 {
		return 0
	}
	return binary.NativeEndian.Uint16(value)
}

// Uint16BE reads two bytes.
func Uint16BE(value []byte) uint16 {
	if len(value) < 2 {
		return 0
	}
	return binary.BigEndian.Uint16(value)
}

// Uint32 reads four bytes.
func Uint32(value []byte) uint32 {
	if len(value) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(value)
}

// Uint64 reads a number of the machine's byte order; what is too short is 0.
func Uint64(value []byte) uint64 {
	if len(value) < 8 {
		return 0
	}
	return binary.NativeEndian.Uint64(value)
}

// Uint32BE reads four bytes.
func Uint32BE(value []byte) uint32 {
	if len(value) < 4 {
		return 0
	}
	return binary.BigEndian.Uint32(value)
}
