//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// TestStatusShowsWhatTheKernelLacks: what somebody has changed in the kernel is in status at once, by name, with a
// verdict and exit status 1, while no audit has repaired it; and nothing is reported where nothing is wrong.
func TestStatusShowsWhatTheKernelLacks(t *testing.T) {
	c := newCluster(t)
	one, two := c.backend(1, 10, "one"), c.backend(2, 10, "two")
	c.write("web.yaml", with(web(nodePort), one, two))
	c.run("--audit-period", "0s")
	c.awaitRest()
	right := func(when string) {
		t.Helper()
		if text, err := c.proxier.StatusText(); err != nil || !strings.Contains(text, "all is right") {
			t.Errorf("%s status ends with %v and says\n%s", when, err, text)
		}
	}
	right("at rest")
	at := func(n int) string {
		return fmt.Sprintf("%s:8080", map[int]string{1: one.IPv4.String(), 2: two.IPv4.String()}[n])
	}
	vip := web4.String()
	for _, harm := range []struct{ command, back, want, verdict string }{
		{"ipvsadm -d -t " + vip + " -r " + at(1), "ipvsadm -a -t " + vip + " -r " + at(1) + " -m -w 1", "MISSING: want weight 1", "DRIFT: 1 object is"},
		{"ipvsadm -e -t " + vip + " -r " + at(2) + " -m -w 3", "ipvsadm -e -t " + vip + " -r " + at(2) + " -m -w 1", "DIFFERS: weight 3, want 1", "DRIFT: 1 object is"},
		{"ipvsadm -a -t " + vip + " -r 10.244.9.9:1 -m -w 1", "ipvsadm -d -t " + vip + " -r 10.244.9.9:1", "EXTRA", "DRIFT: 1 object is"},
		{"ipvsadm -E -t " + vip + " -s lc", "ipvsadm -E -t " + vip + " -s rr", "DIFFERS: scheduler lc, want rr", "DRIFT: 1 object is"},
	} {
		_, err := c.Node1.Run("sh", "-c", harm.command)
		c.must(err)
		text, err := c.proxier.StatusText()
		if err == nil || !strings.Contains(text, harm.want) || !strings.Contains(text, harm.verdict) {
			t.Errorf("after %s status ends with %v and says\n%s", harm.command, err, text)
		}
		if table := text[strings.Index(text, "SERVICE"):]; !strings.Contains(table, "default/web") {
			t.Errorf("what is wrong is not shown:\n%s", text)
		}
		_, err = c.Node1.Run("sh", "-c", harm.back)
		c.must(err)
		right("after " + harm.back)
	}
	_, err := c.Node1.Run("ipvsadm", "-C")
	c.must(err)
	if text, err := c.proxier.StatusText("--problems"); err == nil || strings.Count(text, "MISSING") < 4 ||
		strings.Contains(text, "none: refused") {
		t.Errorf("after ipvsadm -C status ends with %v and says\n%s", err, text)
	}
	c.proxier.Kill()
	c.again()
	right("after a start")
}
