package kernel

import (
	"encoding/binary"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// FuzzParseBroadcast: what is taken is an address of IPv4, and not of the loopback network.
func FuzzParseBroadcast(f *testing.F) {
	route := []byte{unix.AF_INET, 32, 0, 0, unix.RT_TABLE_LOCAL, 0, 0, unix.RTN_BROADCAST, 0, 0, 0, 0}
	destination := []byte{8, 0, unix.RTA_DST, 0, 192, 0, 2, 255}
	binary.NativeEndian.PutUint16(destination, 8)
	binary.NativeEndian.PutUint16(destination[2:], unix.RTA_DST)
	f.Add(append(route, destination...))
	f.Add(route)
	f.Add(append(append([]byte(nil), route...), destination[:6]...))
	f.Add([]byte{unix.AF_INET6, 128})
	f.Fuzz(func(t *testing.T, payload []byte) {
		if addr, is := parseBroadcast(payload); is && (!addr.Is4() || addr.IsLoopback()) {
			t.Errorf("%x is the broadcast address %s", payload, addr)
		}
	})
}

// FuzzParseHexAddr: what is taken is an address with its port, as /proc/net/tcp writes it.
func FuzzParseHexAddr(f *testing.F) {
	for _, text := range []string{
		"0100007F:1F90", "00000000000000000000000001000000:0016", "0000000000000000FFFF00000100007F:0050", "", ":",
		"0100007F", "0100007G:1", "+100007F:1F90",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		at, is := parseHexAddr(text)
		if !is {
			return
		}
		if !at.IsValid() || at.Addr().Is4In6() {
			t.Errorf("%q is %s", text, at)
		}
		if b := at.Addr().As4; at.Addr().Is4() && len(text) > 8 && text[8] == ':' {
			raw := b()
			again, is := parseHexAddr(fmt.Sprintf("%08X:%04X", binary.NativeEndian.Uint32(raw[:]), at.Port()))
			if !is || again != at {
				t.Errorf("%q is %s, and that is %s", text, at, again)
			}
		}
	})
}
