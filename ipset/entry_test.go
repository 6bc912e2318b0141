package ipset_test

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/ipset"
)

var types = ipset.Types()

func TestParseEntry(t *testing.T) {
	v4, v6 := netip.MustParseAddr("10.96.0.10"), netip.MustParseAddr("fd00::10")
	for _, c := range []struct {
		set  ipset.Type
		text string
		want ipset.Entry
		back string // the text of the entry where it is not text
	}{
		{ipset.HashIP, "10.96.0.10", ipset.Entry{Addr: v4}, ""},
		{ipset.HashIP, "fd00:0::10", ipset.Entry{Addr: v6}, "fd00::10"},
		{ipset.HashNet, "10.0.0.0/8", ipset.Entry{Addr: netip.MustParseAddr("10.0.0.0"), Bits: 8}, ""},
		{ipset.HashNet, "10.1.2.3/8", ipset.Entry{Addr: netip.MustParseAddr("10.0.0.0"), Bits: 8}, "10.0.0.0/8"},
		{ipset.HashNet, "fd00::10", ipset.Entry{Addr: v6, Bits: 128}, "fd00::10/128"},
		{ipset.HashIPPort, "10.96.0.10,tcp:80", ipset.Entry{Addr: v4, Protocol: ipset.TCP, Port: 80}, ""},
		{ipset.HashIPPort, "fd00::10,UDP:53", ipset.Entry{Addr: v6, Protocol: ipset.UDP, Port: 53}, "fd00::10,udp:53"},
		{ipset.HashIPPortIP, "10.96.0.10,sctp:65535,10.96.0.10", ipset.Entry{Addr: v4, Protocol: ipset.SCTP, Port: 65535, Peer: v4}, ""},
		{ipset.HashIPPortNet, "10.96.0.10,tcp:80,192.0.2.0/24", ipset.Entry{Addr: v4, Protocol: ipset.TCP, Port: 80, Peer: netip.MustParseAddr("192.0.2.0"), Bits: 24}, ""},
		{ipset.BitmapPort, "30080", ipset.Entry{Port: 30080}, ""},
	} {
		got, err := ipset.ParseEntry(c.set, c.text)
		if err != nil || got != c.want {
			t.Errorf("ParseEntry(%s, %q) = %+v, %v; want %+v", c.set, c.text, got, err, c.want)
		}
		if c.back == "" {
			c.back = c.text
		}
		if text := got.Text(c.set); text != c.back {
			t.Errorf("the text of %q is %q, want %q", c.text, text, c.back)
		}
	}
}

// TestParseEntryRefuses names what is wrong.
func TestParseEntryRefuses(t *testing.T) {
	for _, c := range []struct {
		set        ipset.Type
		text, says string
	}{
		{"hash:mac", "10.0.0.1", "hash:mac"},
		{ipset.HashIP, "", "plain IP address"},
		{ipset.HashIP, "10.0.0.1,tcp:80", "1 parts"},
		{ipset.HashIP, "fe80::1%eth0", "fe80::1%eth0"},
		{ipset.HashIP, "::ffff:10.0.0.1", "plain IP address"},
		{ipset.HashNet, "10.0.0.0/33", "10.0.0.0/33"},
		{ipset.HashNet, "0.0.0.0/0", "0.0.0.0/0"},
		{ipset.HashIPPort, "10.0.0.1", "2 parts"},
		{ipset.HashIPPort, "10.0.0.1,80", "protocol:port"},
		{ipset.HashIPPort, "10.0.0.1,icmp:80", "icmp"},
		{ipset.HashIPPort, "10.0.0.1,tcp:65536", "65536"},
		{ipset.HashIPPortIP, "10.0.0.1,tcp:80,fd00::1", "different families"},
		{ipset.BitmapPort, "-1", "-1"},
	} {
		if got, err := ipset.ParseEntry(c.set, c.text); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("ParseEntry(%s, %q) = %+v, %v; want an error with %q", c.set, c.text, got, err, c.says)
		}
	}
}

func anyEntry(r *rand.Rand, set ipset.Type) ipset.Entry {
	addr := func() netip.Addr { return netip.AddrFrom4([4]byte{byte(1 + r.IntN(200)), byte(r.IntN(256)), 0, 1}) }
	if r.IntN(2) == 0 {
		addr = func() netip.Addr { return netip.AddrFrom16([16]byte{0xfd, byte(r.IntN(256)), 15: byte(r.IntN(256))}) }
	}
	port, protocol := uint16(r.IntN(65536)), []ipset.Protocol{ipset.TCP, ipset.UDP, ipset.SCTP}[r.IntN(3)]
	network := func() (netip.Addr, uint8) {
		a := addr()
		bits := 1 + r.IntN(a.BitLen())
		p, _ := a.Prefix(bits)
		return p.Addr(), uint8(bits)
	}
	var e ipset.Entry
	for _, p := range set.Parts() {
		switch p {
		case ipset.Address:
			e.Addr = addr()
		case ipset.Network:
			e.Addr, e.Bits = network()
		case ipset.Port:
			e.Port, e.Protocol = port, protocol
		case ipset.BarePort:
			e.Port = port
		case ipset.Peer:
			e.Peer = addr()
		case ipset.PeerNetwork:
			e.Peer, e.Bits = network()
		}
	}
	return e
}

// TestTextAndParseAreInverse for any entry of any type.
func TestTextAndParseAreInverse(t *testing.T) {
	r := rand.New(rand.NewPCG(rand.Uint64(), 0))
	for range 5000 {
		set := types[r.IntN(len(types))]
		e := anyEntry(r, set)
		if got, err := ipset.ParseEntry(set, e.Text(set)); err != nil || got != e {
			t.Fatalf("%s %+v: %q is read as %+v, %v", set, e, e.Text(set), got, err)
		}
	}
}

// TestMatching: the entries of each type that a packet from 192.0.2.5:4000 to 10.96.0.10:80 matches.
func TestMatching(t *testing.T) {
	client, front := netip.MustParseAddrPort("192.0.2.5:4000"), netip.MustParseAddrPort("10.96.0.10:80")
	for set, want := range map[ipset.Type]string{
		ipset.HashIP:        "10.96.0.10",
		ipset.HashNet:       "10.96.0.10/32 10.96.0.10/31 10.96.0.8/30",
		ipset.HashIPPort:    "10.96.0.10,tcp:80",
		ipset.HashIPPortIP:  "10.96.0.10,tcp:80,192.0.2.5",
		ipset.HashIPPortNet: "10.96.0.10,tcp:80,192.0.2.5/32 10.96.0.10,tcp:80,192.0.2.4/31 10.96.0.10,tcp:80,192.0.2.4/30",
		ipset.BitmapPort:    "80",
	} {
		var got []string
		n := 0
		for e := range set.Matching(front, client, ipset.TCP) {
			if n++; len(got) < 3 {
				got = append(got, e.Text(set))
			}
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("%s: %s, want %s", set, text, want)
		}
		networks := set.Has(ipset.Network, ipset.PeerNetwork)
		if networks && n != 32 || !networks && n != 1 {
			t.Errorf("%s: a packet matches %d entries", set, n)
		}
	}
	for e := range ipset.Type("hash:mac").Matching(front, client, ipset.TCP) {
		t.Errorf("a packet matches %+v of an unknown type", e)
	}
}

func FuzzParseEntry(f *testing.F) {
	for _, text := range []string{
		"10.96.0.10", "10.0.0.0/8", "10.96.0.10,tcp:80", "fd00::1,udp:53,fd00::1", "fd00::1,udp:53,fd00::/64", "30080",
		"::/0", "1.2.3.4,,", "fe80::1%x",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, set := range types {
			e, err := ipset.ParseEntry(set, text)
			if err != nil {
				continue
			}
			again, err := ipset.ParseEntry(set, e.Text(set))
			if err != nil || again != e {
				t.Errorf("%s: %q is read as %+v, whose text %q is read as %+v, %v", set, text, e, e.Text(set), again, err)
			}
		}
	})
}

func TestValidate(t *testing.T) {
	good := ipset.Set{Name: "IPVSP-VIP", Type: ipset.HashIP, Family: ipset.IPv4, HashSize: 1024, MaxElem: 65536}
	if err := good.Validate(); err != nil {
		t.Errorf("%+v: %v", good, err)
	}
	for name, change := range map[string]func(*ipset.Set){
		"no name":      func(s *ipset.Set) { s.Name = "" },
		"long name":    func(s *ipset.Set) { s.Name = strings.Repeat("x", 32) },
		"unknown type": func(s *ipset.Set) { s.Type = "hash:mac" },
		"no family":    func(s *ipset.Set) { s.Family = 0 },
	} {
		bad := good
		change(&bad)
		if bad.Validate() == nil {
			t.Errorf("%s: %+v is taken for valid", name, bad)
		}
	}
}
