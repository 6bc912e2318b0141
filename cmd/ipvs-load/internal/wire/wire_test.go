package wire

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func TestRequests(t *testing.T) {
	for name, tc := range map[string]struct {
		line  string
		token string
		err   error
	}{
		"an empty line is a request without token":       {line: "\n"},
		"an empty line from telnet too":                  {line: "\r\n"},
		"an empty datagram too":                          {line: ""},
		"foreign text is a request without token":        {line: "GET / HTTP/1.1\r\n"},
		"a token comes back":                             {line: "ipvs-load/1 a.B_9-\n", token: "a.B_9-"},
		"fields after the token are ignored":             {line: "ipvs-load/1 7 future=yes\n", token: "7"},
		"the version alone has no token":                 {line: "ipvs-load/1\n"},
		"another version is refused":                     {line: "ipvs-load/2 7\n", err: ErrVersion},
		"a version that only begins like ours":           {line: "ipvs-load/10 7\n", err: ErrVersion},
		"a token with a forbidden byte":                  {line: "ipvs-load/1 a!b\n", err: ErrToken},
		"a reply is no request":                          {line: "ipvs-load/1 id=a client=1.2.3.4:5\n", err: ErrIsReply},
		"a refusal is no request":                        {line: "ipvs-load/1 error=bad-token", err: ErrIsReply},
		"that of another version neither":                {line: "ipvs-load/2 error=unsupported-version\n", err: ErrIsReply},
		"however long it is":                             {line: "ipvs-load/2 id=" + strings.Repeat("x", MaxLine), err: ErrIsReply},
		"a token one byte too long":                      {line: "ipvs-load/1 " + strings.Repeat("x", MaxToken+1), err: ErrToken},
		"the longest token":                              {line: "ipvs-load/1 " + strings.Repeat("x", MaxToken), token: strings.Repeat("x", MaxToken)},
		"the longest line with its newline is accepted":  {line: strings.Repeat("x", MaxLine-1) + "\n"},
		"a line one byte beyond the longest is refused":  {line: strings.Repeat("x", MaxLine) + "\n", err: ErrTooLong},
		"a datagram one byte beyond the longest as well": {line: strings.Repeat("x", MaxLine), err: ErrTooLong},
	} {
		t.Run(name, func(t *testing.T) {
			token, err := ParseRequest([]byte(tc.line))
			if string(token) != tc.token || !errors.Is(err, tc.err) {
				t.Errorf("ParseRequest(%q) = %q, %v; want %q, %v", tc.line, token, err, tc.token, tc.err)
			}
		})
	}
}

func TestReplyRoundTrip(t *testing.T) {
	for name, tc := range map[string]struct{ client, want string }{
		"IPv4":              {"10.0.0.7:4242", "10.0.0.7"},
		"IPv6":              {"[fd00::7]:4242", "fd00::7"},
		"IPv4 in IPv6 form": {"[::ffff:10.0.0.7]:4242", "10.0.0.7"},
		"link-local":        {"[fe80::7%eth0]:4242", "fe80::7"},
	} {
		t.Run(name, func(t *testing.T) {
			line := AppendReply(nil, "web-1", netip.MustParseAddrPort(tc.client), []byte("t0"))
			r, err := ParseReply(line)
			if err != nil || string(r.ID) != "web-1" || string(r.ClientIP) != tc.want || string(r.Token) != "t0" {
				t.Errorf("%q parsed as %q %q %q, %v", line, r.ID, r.ClientIP, r.Token, err)
			}
		})
	}
}

func TestBadReplies(t *testing.T) {
	for name, tc := range map[string]struct {
		line string
		err  error
	}{
		"another protocol":       {"HTTP/1.1 400 Bad Request", ErrNotReply},
		"an empty line":          {"\n", ErrNotReply},
		"no client":              {"ipvs-load/1 id=a", ErrIncomplete},
		"no id":                  {"ipvs-load/1 client=1.2.3.4:5", ErrIncomplete},
		"two ids":                {"ipvs-load/1 id=a id=b client=1.2.3.4:5", ErrField},
		"an empty id":            {"ipvs-load/1 id= client=1.2.3.4:5", ErrField},
		"an unprintable id":      {"ipvs-load/1 id=\x01 client=1.2.3.4:5", ErrField},
		"a client without port":  {"ipvs-load/1 id=a client=1.2.3.4", ErrField},
		"IPv6 without brackets":  {"ipvs-load/1 id=a client=fd00::1:5", ErrField},
		"a field without value":  {"ipvs-load/1 id=a client=1.2.3.4:5 x", ErrField},
		"a refusal":              {"ipvs-load/1 error=bad-token", ErrRefused},
		"a token that is no one": {"ipvs-load/1 id=a client=1.2.3.4:5 token=%", ErrField},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ParseReply([]byte(tc.line)); !errors.Is(err, tc.err) {
				t.Errorf("ParseReply(%q) says %v, want %v", tc.line, err, tc.err)
			}
		})
	}
}

func TestUnknownKeysInAReplyAreIgnored(t *testing.T) {
	r, err := ParseReply([]byte("ipvs-load/1 id=a zone=b client=1.2.3.4:5 load=0.5\r\n"))
	if err != nil || string(r.ID) != "a" {
		t.Errorf("got %q, %v", r.ID, err)
	}
}

func TestTheLongestReplyFits(t *testing.T) {
	client := netip.MustParseAddrPort("[1111:1111:1111:1111:1111:1111:1111:1111]:65535")
	line := AppendReply(nil, strings.Repeat("x", MaxID), client, bytes.Repeat([]byte("y"), MaxToken))
	if len(line) != 363 || len(line) > MaxLine {
		t.Errorf("the longest reply has %d bytes, the comment at MaxLine says 363", len(line))
	}
}

func TestParsingAReplyAllocatesNothing(t *testing.T) {
	line := AppendReply(nil, "web-1", netip.MustParseAddrPort("10.0.0.7:4242"), []byte("t0"))
	if n := testing.AllocsPerRun(100, func() {
		if _, err := ParseReply(line); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("ParseReply allocates %v times", n)
	}
}

func TestIdentities(t *testing.T) {
	for id, ok := range map[string]bool{
		"web-1": true, "node/pod": true, strings.Repeat("x", MaxID): true,
		"": false, "two words": false, "line\nbreak": false, "zw\u00f6lf": false, strings.Repeat("x", MaxID+1): false,
	} {
		if err := CheckID(id); (err == nil) != ok {
			t.Errorf("CheckID(%q) = %v, want ok %v", id, err, ok)
		}
	}
}

func FuzzParseReply(f *testing.F) {
	f.Add([]byte("ipvs-load/1 id=web-1 client=10.0.0.1:80 token=7\n"))
	f.Add([]byte("ipvs-load/1 id=a client=[fd00::1]:53"))
	f.Add([]byte("ipvs-load/1 error=bad-token\n"))
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := ParseReply(line)
		if err != nil {
			return
		}
		if CheckID(string(r.ID)) != nil {
			t.Fatalf("%q gave the identity %q, which no server may have", line, r.ID)
		}
		// What was understood can be said again, and means the same.
		addr, err := netip.ParseAddr(string(r.ClientIP))
		if err != nil {
			return
		}
		again, err := ParseReply(AppendReply(nil, string(r.ID), netip.AddrPortFrom(addr, 1), r.Token))
		if err != nil || !bytes.Equal(again.ID, r.ID) || !bytes.Equal(again.Token, r.Token) {
			t.Fatalf("%q became %q %q, %v", line, again.ID, again.Token, err)
		}
	})
}

func FuzzParseRequest(f *testing.F) {
	f.Add([]byte("ipvs-load/1 7\n"))
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, line []byte) {
		token, err := ParseRequest(line)
		if err != nil || token == nil {
			return
		}
		again, err := ParseRequest(AppendRequest(nil, token))
		if err != nil || !bytes.Equal(token, again) {
			t.Fatalf("%q: token %q became %q, %v", line, token, again, err)
		}
	})
}
