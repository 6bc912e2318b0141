package source_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/source"
)

// TestReached: an address in a URL is known at once, with its port or its scheme's; where a name leads is known once it
// was reached.
func TestReached(t *testing.T) {
	for text, want := range map[string]string{
		"https://192.0.2.1:6443": "192.0.2.1:6443", "https://192.0.2.1": "192.0.2.1:443",
		"http://[2001:db8::1]":            "[2001:db8::1]:80",
		"https://[::ffff:192.0.2.2]:6443": "192.0.2.2:6443", "https://api.example.com:6443": "",
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		var r source.Reached
		r.Name(u)
		var got []string
		for _, at := range r.All() {
			got = append(got, at.String())
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	at := netip.MustParseAddrPort(server.Listener.Addr().String())
	var r source.Reached
	conn, err := r.Dial(t.Context(), "tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if !slices.Contains(r.All(), at) {
		t.Errorf("reached %v, want %v", r.All(), at)
	}
}
