package kernel

import (
	"strings"
	"testing"
)

// Recorded on Linux 7.2.13 (Debian), without a virtual server and with 693 connections.
const (
	statusUnused = "Conns:\t0\nConn buckets:\t0 (0 bits, lfactor 0)\nServices:\t0\nService buckets:\t0 (0 bits, lfactor 0)\n" +
		"Stats thread slots:\t1 (max 0)\nStats chain max len:\t0\nStats thread ests:\t0\n"
	statusUsed = "Conns:\t693\nConn buckets:\t4096 (12 bits, lfactor -4)\nConn buckets empty:\t2939 (71%)\nConn buckets len-1:\t953 (82%)\n" +
		"Conn buckets len-2:\t180 (15%)\nConn buckets len-3:\t23 (1%)\nConn buckets len-4:\t1 (0%)\nServices:\t40\n" +
		"Service buckets:\t512 (9 bits, lfactor -3)\nService buckets empty:\t475 (92%)\nService buckets len-1:\t34 (91%)\n" +
		"Service buckets len-2:\t3 (8%)\nStats thread slots:\t1 (max 8)\nStats chain max len:\t62\nStats thread ests:\t148800\n"
)

// TestParseStatus reads what kernels write, and says what is wrong with what none writes.
func TestParseStatus(t *testing.T) {
	for text, want := range map[string]ConnectionTable{
		statusUnused: {Grows: true},
		statusUsed:   {Grows: true, Connections: 693, Buckets: 4096, Services: 40, ServiceBuckets: 512},
	} {
		var got ConnectionTable
		if err := got.parseStatus(text); err != nil || got != want {
			t.Errorf("%+v, %v; want %+v\n%s", got, err, want, text)
		}
	}
	for text, wrong := range map[string]string{
		"": "no line",
		strings.Replace(statusUsed, "Conns:", "Connections:", 1): `no line "Conns"`,
		strings.Replace(statusUsed, "693", "many", 1):            `"Conns:\tmany" holds no number`,
		strings.Replace(statusUsed, "693", "-1", 1):              `"Conns:\t-1" holds no number`,
		strings.Replace(statusUsed, "512 (9", "(9", 1):           `lfactor -3)" holds no number`,
		statusUsed[:strings.Index(statusUsed, "Services")]:       "no line",
	} {
		if err := new(ConnectionTable).parseStatus(text); err == nil || !strings.Contains(err.Error(), wrong) {
			t.Errorf("%v; want it to say %q of\n%s", err, wrong, text)
		}
	}
}
