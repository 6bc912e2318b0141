//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// TestDiff: at rest nothing differs. What somebody changes in the kernel, and what the daemon has not done, is reported
// with the side that is behind, and nothing is written. Without a daemon or without an API the others are compared, and
// without both there is an error.
func TestDiff(t *testing.T) {
	c := newCluster(t)
	c.write("many.yaml", manyOfAllKinds(12)...)
	state := filepath.Join(t.TempDir(), "state")
	c.run("--audit-period", "0s", "--state-dir", state)
	c.awaitRest()
	diff := func(manifests string, args ...string) (text string, err error) {
		return c.Node1.Run(programs.Path("ipvs-proxier"), append([]string{
			"diff", "--manifests", manifests, "--node-name", c.Node1.Name, "--cluster-cidr", topology.PodCIDRs, "--timeout",
			"3s",
		}, args...)...)
	}
	if text, err := diff(c.manifests); err != nil ||
		!strings.Contains(text, "nothing differs: API, memory and kernel have the same ") {
		t.Fatalf("at rest: %v\n%s", err, text)
	}

	_, err := c.Node1.Run(programs.Path("ipvs-proxier"), "freeze", "1h")
	c.must(err)
	for _, command := range []string{
		"ipvsadm -D -t 10.96.20.1:80", "ipvsadm -A -t 10.96.77.7:80", "ip addr del 10.96.20.2/32 dev kube-ipvs0",
		"ipset del IPVSP-FRONT-END 10.96.20.3,tcp:80", "iptables -w -F IPVSP-CLIENTS",
		"sysctl -qw net.ipv4.vs.expire_nodest_conn=0",
	} {
		_, err := c.Node1.Run("sh", "-c", command)
		c.must(err)
	}
	// Frozen, the daemon does not program it.
	c.write("late.yaml", with(service("late", []string{"10.96.30.30"}), c.pod(2, 77, "late")))
	before := c.sorted()
	text, err := diff(c.manifests, "-o", "json")
	if err == nil {
		t.Errorf("differences end with 0:\n%s", text)
	}
	behind := map[string]string{}
	for _, row := range readDiff(t, text) {
		behind[row.Object] = row.Behind
	}
	for object, want := range map[string]string{
		"virtual-server tcp 10.96.20.1:80": "kernel", "address 10.96.20.2": "kernel",
		"entry IPVSP-FRONT-END 10.96.20.3,tcp:80": "kernel",
		"chain ipv4 filter IPVSP-CLIENTS":         "kernel", "sysctl net.ipv4.vs.expire_nodest_conn": "kernel",
		"virtual-server tcp 10.96.30.30:80": "memory", "address 10.96.30.30": "memory",
	} {
		if behind[object] != want {
			t.Errorf("%s: behind is %q, want %q", object, behind[object], want)
		}
	}
	for object := range behind {
		if strings.Contains(object, "10.96.77.7") {
			t.Errorf("somebody else's virtual server is one of the differences: %s", object)
		}
	}
	if text, err := diff(c.manifests); err == nil ||
		!strings.Contains(text, "are not as wanted: somebody else changed it") || !strings.Contains(text, "knows no better") {
		t.Errorf("the table ends with %v:\n%s", err, text)
	}
	if now := c.sorted(); !slices.Equal(now, before) {
		t.Errorf("diff has changed the node: too much: %q, missing: %q", without(now, before), without(before, now))
	}

	none := filepath.Join(t.TempDir(), "none")
	if text, err := diff(none); err == nil || !strings.Contains(text, "the API is left out") ||
		!strings.Contains(text, "virtual-server tcp 10.96.20.1:80") || strings.Contains(text, "10.96.30.30") {
		t.Errorf("without an API: %v\n%s", err, text)
	}
	c.proxier.Kill()
	if text, err := diff(c.manifests); err == nil ||
		!strings.Contains(text, "the daemon is left out: no ipvs-proxier answers") ||
		!strings.Contains(text, "virtual-server tcp 10.96.30.30:80") {
		t.Errorf("without a daemon: %v\n%s", err, text)
	}
	if text, err := diff(none); err == nil ||
		!strings.Contains(fmt.Sprint(text, err), "neither the API nor the daemon can be asked") {
		t.Errorf("without both: %v\n%s", err, text)
	}
	c.must(os.RemoveAll(state))
	c.start(c.args...)
	c.awaitRest()
	if text, err := diff(c.manifests); err != nil {
		t.Errorf("after a start: %v\n%s", err, text)
	}
}

// readDiff returns the differences of `diff -o json`.
func readDiff(t *testing.T, text string) []struct{ Object, Behind string } {
	t.Helper()
	var d struct {
		Differences []struct{ Object, Behind string }
	}
	if start := strings.Index(text, "{"); start < 0 ||
		json.Unmarshal([]byte(text[start:strings.LastIndex(text, "}")+1]), &d) != nil {
		t.Fatalf("not JSON: %s", text)
	}
	return d.Differences
}
