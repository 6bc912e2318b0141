package engine

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/account"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/target"
)

func TestImpossibleRunsAreNamed(t *testing.T) {
	v4, _ := target.Parse("tcp://10.96.0.10:80")
	v6, _ := target.Parse("tcp://[fd00::1]:80")
	udp, _ := target.Parse("udp://10.96.0.10:53")
	zone, _ := target.Parse("tcp://[fe80::1%nosuchlink]:80")
	for part, change := range map[string]func(*Config){
		`mode "ping" is not known; allowed are connect, crr, rr, idle and stream (TCP, SCTP) and udp-rr (UDP)`: func(c *Config) { c.Mode = "ping" },
		"no target is given": func(c *Config) { c.Targets = nil },
		"target udp://10.96.0.10:53 does not fit mode crr": func(c *Config) {
			c.Targets = append(c.Targets,
				udp)
		},
		`zone "nosuchlink" is no link of this machine`:                 func(c *Config) { c.Targets = []target.Target{zone} },
		"timeout 0s is out of range":                                   func(c *Config) { c.Timeout = 0 },
		"timeout 2h0m0s is out of range":                               func(c *Config) { c.Timeout = 2 * time.Hour },
		"connections-max 0 is out of range":                            func(c *Config) { c.ConnectionsMax = 0 },
		"connections-max 1073741824 is out of range":                   func(c *Config) { c.ConnectionsMax = 1 << 30 },
		`UDP port "random" is not known; allowed are rotate and fixed`: func(c *Config) { c.UDPPort = "random" },
		"a fixed UDP port allows 1 worker, 2 are asked for":            func(c *Config) { c.UDPPort, c.Plan.Workers = Fixed, 2 },
		`close "now" is not known; allowed are fin and reset`:          func(c *Config) { c.Close = "now" },
		"rate 0 is out of range":                                       func(c *Config) { c.Plan.Rate = 0 },
		"source 192.0.2.1: cannot assign requested address": func(c *Config) {
			c.Sources = []netip.Addr{
				netip.MustParseAddr("192.0.2.1"),
			}
		},
		"source ::1 fits no target": func(c *Config) { c.Sources = []netip.Addr{netip.MustParseAddr("::1")} },
		"target tcp://[fd00::1]:80 has no source of its address family": func(c *Config) {
			c.Targets, c.Sources = append(c.Targets, v6), []netip.Addr{netip.MustParseAddr("127.0.0.1")}
		},
	} {
		c := config(CRR, 10, v4)
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("Validate says %v; want a sentence with %q", err, part)
		}
	}
}

func TestErrorNumbers(t *testing.T) {
	for errno, tc := range map[unix.Errno]struct {
		read int
		want account.Kind
		text string
	}{
		unix.ECONNREFUSED:  {0, account.Refused, ""},
		unix.ETIMEDOUT:     {0, account.Timeout, ""},
		unix.ECONNRESET:    {0, account.ResetBeforeReply, ""},
		unix.EPIPE:         {1, account.ResetMidStream, ""},
		unix.EHOSTUNREACH:  {0, account.NoRoute, ""},
		unix.ENETUNREACH:   {0, account.NoRoute, ""},
		unix.EADDRNOTAVAIL: {0, account.NoLocalPort, ""},
		unix.EADDRINUSE:    {0, account.NoLocalPort, ""},
		unix.EPERM:         {0, account.Other, "connect: operation not permitted"},
		unix.EMFILE:        {0, account.Other, "connect: too many open files"},
	} {
		if kind, text := classify("connect", errno, tc.read); kind != tc.want || text != tc.text {
			t.Errorf("%v is %v %q, want %v %q", errno, kind, text, tc.want, tc.text)
		}
	}
}

func TestTokensFindTheirRequest(t *testing.T) {
	s := slots{limit: 2}
	a, b := s.take(), s.take()
	a.state, b.state = waiting, waiting
	if s.available() {
		t.Error("a third slot of two is available")
	}
	token := appendToken(nil, b)
	index, generation, ok := parseToken(token)
	if !ok || len(token) != tokenLength || s.find(index, generation) != b {
		t.Errorf("token %s does not lead to its request", token)
	}
	s.release(b)
	again := s.take()
	again.state = waiting
	if again != b || s.find(index, generation) != nil {
		t.Error("the token of a finished request leads to the slot's next one")
	}
	s.release(a)
	if s.first != again || s.last != again || s.inUse != 1 {
		t.Error("the list of open requests is broken")
	}
	for _, bad := range []string{"", "000000000000000", "00000000000000000", "000000000000000g", "00000000FFFFFFFF"} {
		if _, _, ok := parseToken([]byte(bad)); ok {
			t.Errorf("%q is taken for a token", bad)
		}
	}
	if s.find(1<<31, 1) != nil {
		t.Error("a token from elsewhere finds a request")
	}
}

// FuzzParseToken: a token that is taken is the one that is written.
func FuzzParseToken(f *testing.F) {
	f.Add([]byte("0000000100000002"))
	f.Add([]byte("ffffffffffffffff"))
	f.Add([]byte("FFFF"))
	f.Fuzz(func(t *testing.T, data []byte) {
		index, generation, ok := parseToken(data)
		if ok && string(appendToken(nil, &slot{index: index, generation: generation})) != string(data) {
			t.Errorf("%q became %d, %d", data, index, generation)
		}
	})
}
