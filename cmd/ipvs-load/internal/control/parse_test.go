package control

import (
	"net/netip"
	"strings"
	"testing"
)

// FuzzTables: whatever the kernel or iptables-save says, each real server is an address with a port, and a table is no
// longer than its text.
func FuzzTables(f *testing.F) {
	f.Add("IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\nTCP  0A600101:0050 rr\n  -> 0AF40001:1F90 Masq 1 0 0\n")
	f.Add("TCP  [fd00:0010:0096:0000:0000:0000:0000:0100]:0050 rr\n  -> [fd00::1]:1F90 Masq 1 0 0\nFWM 1\n  -> x")
	f.Add("-A KUBE-SERVICES -d 10.96.1.0/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-X\n-A KUBE-SVC-X -j KUBE-SEP-Y\n-A KUBE-SEP-Y -p tcp -j DNAT --to-destination 10.244.0.16:8080\n")
	f.Fuzz(func(t *testing.T, text string) {
		kernel, err := parseTable(strings.NewReader(text))
		if err != nil {
			kernel = nil
		}
		rules, err := parseIptables(strings.NewReader(text))
		if err != nil {
			rules = nil
		}
		for _, table := range []table{kernel, rules} {
			for at, real := range table {
				if !at.IsValid() || len(real) > len(text) {
					t.Errorf("%v has %d real servers", at, len(real))
				}
				for _, r := range real {
					if r.Addr() == (netip.Addr{}) {
						t.Errorf("%v has a real server without an address", at)
					}
				}
			}
		}
	})
}

// FuzzProc: files of /proc, which a kernel of any version writes, and pages of metrics, which any proxy does, are read
// or refused.
func FuzzProc(f *testing.F) {
	f.Add("1 (a) b) S 1 1 1 0 -1 4194560 1 0 0 0 5 6 7 8 20 0 1 0 1 1 1", "VmHWM:\t 10 kB\nvoluntary_ctxt_switches:\t3\n")
	f.Add("cpu  1 2 3 4 5 6 7 8 9 10\nprocesses 5\n", "0.00 0.01 0.05 1/123 4567")
	f.Add("a_bucket{stage=\"total\",le=\"0.1\"} 5\na_bucket{le=\"+Inf\"} NaN\n", "a")
	f.Add("http://a a(", "x=5")
	f.Fuzz(func(t *testing.T, first, second string) {
		if u, err := parseUsage(first, second); err != nil && u.PeakRSS != 0 {
			t.Errorf("%+v beside the error %v", u, err)
		}
		parseSwitches(second)
		_, _ = parseForks(first)
		_, _ = parseTasks(second)
		_, _ = parseTimes(first)
		page, err := parseSeries(first)
		if err != nil && page != nil {
			t.Errorf("%v beside the error %v", page, err)
		}
		page.value(second)
		for _, buckets := range page.histogram(second) {
			if len(buckets) > len(first) {
				t.Errorf("%d buckets of %d bytes", len(buckets), len(first))
			}
		}
		if r, err := ParseReady(first); err == nil && (r.Pattern == nil || !strings.HasPrefix(r.URL, "http")) {
			t.Errorf("%q became %+v", first, r)
		}
		if c, err := ParseCount(second); err == nil {
			if again, err := ParseCount(c.String()); err != nil || again != c {
				t.Errorf("%q became %v, which became %v, %v", second, c, again, err)
			}
		}
	})
}
