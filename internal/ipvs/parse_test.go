package ipvs

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/internal/netlink"
)

// body returns the payload of the batch's only message.
func body(b *netlink.Batch) (payload []byte) {
	b.End()
	return b.Message(0)[unix.SizeofNlMsghdr:]
}

// TestAKeyIsReadAsItWasWritten, in both families and all protocols.
func TestAKeyIsReadAsItWasWritten(t *testing.T) {
	for _, want := range []Key{
		{unix.IPPROTO_TCP, netip.MustParseAddr("10.96.0.1"), 80}, {unix.IPPROTO_UDP, netip.MustParseAddr("fd00::1"), 53},
		{unix.IPPROTO_SCTP, netip.MustParseAddr("255.255.255.255"), 65535},
	} {
		var b netlink.Batch
		Begin(&b, 30, NewService, 0)
		want.Nest(&b, func() { b.String(ServiceScheduler, "mh"); b.Uint32(ServiceMask, WholeMask6) })
		got, ok := ParseService(body(&b))
		if !ok || got.Key != want || string(got.Scheduler) != "mh" || got.WholeClient != want.Addr.Is6() {
			t.Errorf("%+v became %+v, %v", want, got, ok)
		}
	}
}

// TestTraffic: the counters of 64 bits are read, whatever is beside them; an answer without them has none.
func TestTraffic(t *testing.T) {
	var b netlink.Batch
	Begin(&b, 1, NewService, 0)
	nest := b.Nest(AttrService)
	b.Uint16(ServicePort, 80)
	stats := b.Nest(ServiceStats64)
	for attr, value := range map[uint16]uint64{
		StatsConnections: 1, StatsPacketsIn: 1 << 40, StatsPacketsOut: 3, StatsBytesIn: 4, StatsBytesOut: 5, 6: 99,
	} {
		b.Bytes(attr, binary.NativeEndian.AppendUint64(nil, value))
	}
	b.EndNest(stats)
	b.EndNest(nest)
	want := Traffic{Connections: 1, PacketsIn: 1 << 40, PacketsOut: 3, BytesIn: 4, BytesOut: 5}
	if got := ParseTraffic(body(&b)); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := ParseTraffic(nil); got != (Traffic{}) {
		t.Errorf("of nothing: %+v", got)
	}
}

// FuzzParse: no answer of the kernel brings the parsers down, and what they take of one has an address of its family.
func FuzzParse(f *testing.F) {
	f.Add([]byte{1, 1, 0, 0, 12, 0, 1, 0x80, 6, 0, 1, 0, 2, 0, 0, 0}, false)
	f.Add([]byte{8, 1, 0, 0, 28, 0, 2, 0x80, 8, 0, 1, 0, 10, 0, 0, 1, 6, 0, 2, 0, 0, 80, 0, 0, 8, 0, 4, 0, 1, 0, 0, 0},
		true)
	f.Fuzz(func(t *testing.T, payload []byte, v6 bool) {
		if s, ok := ParseService(payload); ok != s.Addr.IsValid() || len(s.Scheduler) > len(payload) {
			t.Errorf("a virtual server %+v, %v", s, ok)
		}
		of := Key{Addr: netip.IPv4Unspecified()}
		if v6 {
			of.Addr = netip.IPv6Unspecified()
		}
		if d, ok := ParseDestination(payload, of); ok != d.Addr.IsValid() || ok && len(payload) < 8 {
			t.Errorf("a real server %+v, %v", d, ok)
		}
	})
}
