package replay

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func raw(kind, flags uint16, payload ...byte) []byte {
	m := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(payload)))
	m = binary.NativeEndian.AppendUint16(binary.NativeEndian.AppendUint16(m, kind), flags)
	m = append(append(m, make([]byte, 8)...), payload...)
	return append(m, make([]byte, (4-len(m)%4)%4)...)
}

func TestRecordsAreReadAsTheyWereWritten(t *testing.T) {
	want := []Record{{unix.NETLINK_ROUTE, raw(unix.RTM_NEWADDR, 1, 1, 2, 3)}, {unix.NETLINK_GENERIC, raw(30, 1)}}
	var file bytes.Buffer
	for _, r := range want {
		if err := Write(&file, r); err != nil {
			t.Fatal(err)
		}
	}
	whole := file.String()
	got, err := Read(strings.NewReader(whole))
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v %s", err, d)
	}
	for _, bad := range []string{whole[:len(whole)-1], whole[:3], "\x00\x00\xff\xff\xff\xff"} {
		if _, err := Read(strings.NewReader(bad)); err == nil {
			t.Errorf("%d bytes are taken", len(bad))
		}
	}
}

func TestAReplayHasWhatWritesInItsOrder(t *testing.T) {
	const ipvs = 30
	const create = unix.NLM_F_REQUEST | unix.NLM_F_CREATE | unix.NLM_F_ACK
	link := make([]byte, unix.SizeofIfInfomsg)
	address := make([]byte, unix.SizeofIfAddrmsg)
	binary.NativeEndian.PutUint32(address[4:], 7)
	records := []Record{
		{unix.NETLINK_NETFILTER, append(raw(6<<8|2, 5, 0, 0, 0, 0), raw(6<<8|7, 5)...)}, // a set is made; one is listed
		{unix.NETLINK_NETFILTER, raw(10<<8, 1)},                                         // nftables
		{unix.NETLINK_ROUTE, raw(unix.RTM_NEWLINK, create, link...)},
		{unix.NETLINK_ROUTE, raw(unix.RTM_GETLINK, 1, link...)},
		{unix.NETLINK_GENERIC, append(raw(ipvs, 5, 1, 1, 0, 0), raw(ipvs, 5, 4, 1, 0, 0)...)}, // make one; list
		{unix.NETLINK_GENERIC, raw(ipvs, 5, 5, 1, 0, 0, 9)},
		{unix.NETLINK_GENERIC, raw(ipvs+1, 5, 1, 1, 0, 0)},
		{unix.NETLINK_ROUTE, raw(unix.RTM_NEWADDR, create, address...)},
	}
	all := messages(records, ipvs)
	var kinds []uint16
	for _, m := range all {
		kinds = append(kinds, m.kind)
	}
	if d := cmp.Diff([]uint16{6<<8 | 2, unix.RTM_NEWLINK, ipvs, ipvs, unix.RTM_NEWADDR}, kinds); d != "" {
		t.Error(d)
	}
	steps := plan(all)
	var lengths []int
	for _, s := range steps {
		lengths = append(lengths, s.batch.Len())
	}
	if d := cmp.Diff([]int{1, 1, 2, 1}, lengths); d != "" {
		t.Error(d)
	}
	// The link gets the number that the address calls it by, which the recorded one did not ask for.
	if index := linkIndex(all); index != 7 {
		t.Errorf("the link's number is %d", index)
	}
	if binary.NativeEndian.Uint32(link[4:]) != 0 {
		t.Error("the record itself was changed")
	}
}

// FuzzRead: records that are read are written as they were.
func FuzzRead(f *testing.F) {
	var file bytes.Buffer
	if err := Write(&file, Record{unix.NETLINK_ROUTE, raw(unix.RTM_NEWADDR, 1, 1, 2, 3)}); err != nil {
		f.Fatal(err)
	}
	f.Add(file.Bytes())
	f.Add([]byte{0, 0, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, data []byte) {
		records, err := Read(bytes.NewReader(data))
		if err != nil {
			return
		}
		var again bytes.Buffer
		for _, r := range records {
			if err := Write(&again, r); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(again.Bytes(), data) {
			t.Errorf("% x became % x", data, again.Bytes())
		}
	})
}
