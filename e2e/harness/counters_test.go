package harness

import "testing"

func TestCounters(t *testing.T) {
	c := Counters{}
	if err := c.addPairs("TcpExt: SyncookiesSent TCPSynRetrans\nTcpExt: 0 7\nIpExt: InNoRoutes\nIpExt: 3\n"); err != nil {
		t.Fatal(err)
	}
	if err := c.addProcessors(
		"entries insert_failed drop\n0000000a 00000001 00000000\n0000000a 0000001f 00000002\n",
	); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int64{
		"TcpExtTCPSynRetrans": 7, "IpExtInNoRoutes": 3, "Conntrackinsert_failed": 32, "Conntrackdrop": 2,
	} {
		if got, there := c[name]; got != want || !there {
			t.Errorf("%s is %d, want %d", name, got, want)
		}
	}
	if grown := c.Since(Counters{"TcpExtTCPSynRetrans": 5}); grown["TcpExtTCPSynRetrans"] != 2 {
		t.Errorf("grown by %d, want 2", grown["TcpExtTCPSynRetrans"])
	}
	for _, bad := range []string{"Tcp: A B\nTcp: 1\n", "Tcp: A\nTcp: x\n"} {
		if err := c.addPairs(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
	if err := c.addProcessors("entries\n1 2\n"); err == nil {
		t.Error("a value without a name: no error")
	}
}
