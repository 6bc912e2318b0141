package target

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for in, want := range map[string]string{
		"tcp://10.96.0.10:80":          "tcp://10.96.0.10:80",
		"udp://[fd00::1]:53":           "udp://[fd00::1]:53",
		"udp://[fd00:0:0::1]:53":       "udp://[fd00::1]:53",
		"tcp://[fe80::1%eth0]:65535":   "tcp://[fe80::1%eth0]:65535",
		"tcp://[::ffff:10.96.0.10]:80": "tcp://10.96.0.10:80",
	} {
		got, err := Parse(in)
		if err != nil || got.String() != want {
			t.Errorf("Parse(%q) = %v, %v; want %s", in, got, err, want)
		}
	}
}

func TestBadTargetsAreNamed(t *testing.T) {
	for in, part := range map[string]string{
		"10.96.0.10:80":            "no scheme",
		"http://10.96.0.10:80":     `scheme "http" is not known; allowed are tcp, udp and sctp`,
		"tcp://10.96.0.10":         "no port",
		"tcp://web:80":             "names are not resolved",
		"tcp://10.96.0.300:80":     "not an IPv4 or IPv6 address",
		"tcp://fd00::1:80":         "in brackets",
		"tcp://[fd00::1]":          "[ADDRESS]:PORT",
		"tcp://[10.96.0.10]:80":    "brackets are for IPv6",
		"tcp://10.96.0.10:http":    `port "http"`,
		"tcp://10.96.0.10:7777777": `port "7777777"`,
		"tcp://10.96.0.10:-1":      `port "-1"`,
		"tcp://10.96.0.10:80/":     `port "80/"`,
		"tcp://10.96.0.10:0":       "port 0",
		"tcp://0.0.0.0:80":         "no address to send to",
		"udp://[::]:80":            "no address to send to",
		"udp://224.0.0.1:80":       "multicast",
		"":                         "no scheme",
	} {
		_, err := Parse(in)
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("Parse(%q) says %v; want a sentence with %q", in, err, part)
		}
	}
}

func TestParseListen(t *testing.T) {
	for in, want := range map[string]string{
		"tcp://0.0.0.0:8080":  "tcp://0.0.0.0:8080",
		"tcp://[::]:8080":     "tcp://[::]:8080",
		"udp://:8080":         "udp://[::]:8080",
		"tcp://127.0.0.1:0":   "tcp://127.0.0.1:0",
		"tcp://web:80":        "",
		"udp://[ff02::1]:80":  "",
		"sctp://127.0.0.1:80": "sctp://127.0.0.1:80",
	} {
		got, err := ParseListen(in)
		if (err != nil) != (want == "") || err == nil && got.String() != want {
			t.Errorf("ParseListen(%q) = %v, %v; want %q", in, got, err, want)
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{
		"tcp://10.96.0.10:80", "udp://[fd00::1]:53", "tcp://[fe80::1%a]:1", "tcp://", "udp://[::ffff:1.2.3.4]:9",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := Parse(s)
		if err != nil {
			return
		}
		if got.Addr.Port() == 0 || got.Addr.Addr().IsUnspecified() || got.Addr.Addr().Is4In6() {
			t.Fatalf("Parse(%q) let %v pass", s, got)
		}
		again, err := Parse(got.String())
		if err != nil || again != got {
			t.Fatalf("%q became %q, which became %v, %v", s, got, again, err)
		}
	})
}

// FuzzParseListen: what a server listens on is written as it is read.
func FuzzParseListen(f *testing.F) {
	for _, s := range []string{"tcp://0.0.0.0:80", "udp://:53", "sctp://[::]:0", "tcp://:::", "tcp://[fe80::1%a]:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseListen(s)
		if err != nil {
			return
		}
		if again, err := ParseListen(got.String()); err != nil || again != got {
			t.Fatalf("%q became %q, which became %v, %v", s, got, again, err)
		}
	})
}
