package kernel

import (
	"net"
	"net/netip"
	"slices"
	"testing"
)

func TestListening(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().(*net.TCPAddr).AddrPort()
	conn, err := net.Dial("tcp", at.String()) // a connection is no listener
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	own := conn.LocalAddr().(*net.TCPAddr).AddrPort()
	found, err := TCPListeners()
	if err != nil || !slices.Contains(found, at) || slices.Contains(found, own) {
		t.Errorf("%v %v, want %s and not %s", found, err, at, own)
	}
	l.Close()
	if found, err := TCPListeners(); err != nil || slices.Contains(found, at) {
		t.Errorf("%v %v, want no %s", found, err, at)
	}
}

func TestParseHexAddr(t *testing.T) {
	for text, want := range map[string]string{
		"0100007F:2809":                         "127.0.0.1:10249",
		"00000000:0016":                         "0.0.0.0:22",
		"00000000000000000000000001000000:2810": "[::1]:10256",
		"0000000000000000FFFF00000100007F:2810": "127.0.0.1:10256",
	} {
		if at, ok := parseHexAddr(text); !ok || at != netip.MustParseAddrPort(want) {
			t.Errorf("%s is %v %v, want %s", text, at, ok, want)
		}
	}
	for _, text := range []string{"", "local_address", "0100007F", "0100007F:ZZ", "01:2809"} {
		if at, ok := parseHexAddr(text); ok {
			t.Errorf("%q is read as %s", text, at)
		}
	}
}
