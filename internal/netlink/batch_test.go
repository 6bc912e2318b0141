package netlink

import (
	"bytes"
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"
)

// TestBatch: messages stand one behind the other, each with its length; attributes are padded, nests have their length;
// and what was written is read again.
func TestBatch(t *testing.T) {
	var b Batch
	for range 2 { // the second time in used memory
		b.Reset()
		for i := range 3 {
			b.Begin(uint16(100+i), unix.NLM_F_EXCL)
			b.Raw(1, 2, 3, 4)
			b.Uint8(1, 5)
			b.String(2, "ab")
			nest := b.Nest(3)
			b.Uint16BE(4, 80)
			b.Uint32(5, 7)
			b.Bytes(6, []byte{1, 2, 3, 4, 5})
			b.EndNest(nest)
			b.End()
		}
	}
	if b.Len() != 3 || b.Size() != len(b.Message(0))*3 {
		t.Fatalf("%d messages of %d bytes, the first has %d", b.Len(), b.Size(), len(b.Message(0)))
	}
	for i := range 3 {
		m := b.Message(i)
		if binary.NativeEndian.Uint32(m) != uint32(len(m)) || Uint16(m[4:]) != uint16(100+i) ||
			Uint16(m[6:]) != unix.NLM_F_REQUEST|unix.NLM_F_EXCL {
			t.Errorf("header % x", m[:unix.SizeofNlMsghdr])
		}
		var seen []uint16
		Attributes(m[unix.SizeofNlMsghdr+4:], func(attr uint16, value []byte) {
			seen = append(seen, attr)
			switch attr {
			case 1:
				if Uint8(value) != 5 || len(value) != 1 {
					t.Errorf("attribute 1: % x", value)
				}
			case 2:
				if string(value) != "ab\x00" {
					t.Errorf("attribute 2: %q", value)
				}
			case 3:
				Attributes(value, func(attr uint16, value []byte) {
					seen = append(seen, attr)
					if attr == 4 && Uint16BE(value) != 80 || attr == 5 && Uint32(value) != 7 ||
						attr == 6 && !bytes.Equal(value, []byte{1, 2, 3, 4, 5}) {
						t.Errorf("attribute %d: % x", attr, value)
					}
				})
			}
		})
		if len(seen) != 6 {
			t.Errorf("attributes %v, want 1 to 6", seen)
		}
	}
}

// FuzzAttributes: whatever comes, the walk ends and stays inside.
func FuzzAttributes(f *testing.F) {
	f.Add([]byte{8, 0, 1, 0, 1, 2, 3, 4})
	f.Add([]byte{0, 0, 1, 0})
	f.Add([]byte{5, 0, 1, 0, 9})
	f.Fuzz(func(t *testing.T, data []byte) {
		total := 0
		Attributes(data, func(_ uint16, value []byte) {
			total += unix.SizeofNlAttr + len(value)
			Uint8(value)
			Uint16(value)
			Uint16BE(value)
			Uint32(value)
			Uint32BE(value)
		})
		if total > len(data) {
			t.Errorf("%d bytes of attributes in %d", total, len(data))
		}
	})
}
