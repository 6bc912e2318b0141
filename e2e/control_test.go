//go:build e2e

package e2e

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
)

// TestControlPlaneCost: ipvs-load control measures the real proxier, and what it says is in the kernel is there.
func TestControlPlaneCost(t *testing.T) {
	c := newCluster(t)
	for _, family := range []string{"", "--ipv6"} {
		args := []string{"control", "--services", "50", "--endpoints", "4", "--changes", "5", "--idle", "1s", "--json"}
		if family != "" {
			args = append(args, family)
		}
		args = append(args, "--", programs.Path("ipvs-proxier"), "run", "--node-name", "node1", "--manifests", "{manifests}")
		r, text, err := c.control(args...)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if !r.Converged || r.First.Took <= 0 || r.First.Own <= 0 || r.First.Netlink == nil || *r.First.Netlink == 0 ||
			r.Changes.Count != 5 || r.Changes.Max < r.Changes.P50 || r.RSS < 1<<20 {
			t.Errorf("%s", text)
		}
		// A change starts no process, and costs the kernel a few messages.
		if r.Changes.Processes > 20 || *r.Changes.Netlink == 0 {
			t.Errorf("%d processes for 5 changes, %d netlink buffers", r.Changes.Processes, *r.Changes.Netlink)
		}
		// After its end the dataplane is still there.
		kernel, err := c.Node1.Run("ipvsadm", "-Sn")
		c.must(err)
		if servers, ends := strings.Count(kernel, "-A -t "), strings.Count(kernel, "-a -t "); servers != 50 || ends < 200 {
			t.Errorf("%d virtual servers and %d real servers in the kernel, want 50 and at least 200", servers, ends)
		}
		_, err = programs.Cleanup(c.Node1)
		c.must(err)
	}

	for _, failure := range []struct {
		want, timeout string
		command       []string
	}{
		// A program that ends is noticed at once, however long a busy machine takes to start it.
		{"the proxy has ended (exit status 2)", harness.Patiently(time.Minute).String(), []string{
			programs.Path("ipvs-proxier"), "run", "--no-such-flag", "{manifests}",
		}},
		{"the kernel did not get everything", "2s", []string{"sh", "-c", "test -d {manifests} && exec sleep 1000"}},
	} {
		args := []string{"control", "--services", "1", "--endpoints", "1", "--timeout", failure.timeout, "--"}
		_, text, err := c.control(append(args, failure.command...)...)
		if err == nil || !strings.Contains(text, failure.want) {
			t.Errorf("%v: %v, want %q:\n%s", failure.command, err, failure.want, text)
		}
	}
}

type controlReport struct {
	Converged bool `json:"converged"`
	First     struct {
		Took    float64 `json:"took_s"`
		Own     float64 `json:"own_cpu_s"`
		Netlink *int64  `json:"netlink_buffers"`

		ByKind map[string]int64 `json:"netlink_writes_by_kind"`
	} `json:"first_programming"`
	Changes struct {
		Count     int     `json:"count"`
		P50       float64 `json:"p50_ms"`
		Max       float64 `json:"max_ms"`
		Processes int64   `json:"processes_started"`
		Netlink   *int64  `json:"netlink_buffers"`

		Counters map[string]float64 `json:"counters"`
	} `json:"changes"`
	RSS        int64      `json:"peak_rss_bytes"`
	Complete   *float64   `json:"complete_s"`
	Ready      *float64   `json:"ready_s"`
	Histograms []struct{} `json:"histograms"`
	Restart    *struct {
		Took   float64          `json:"took_s"`
		ByKind map[string]int64 `json:"netlink_writes_by_kind"`
	} `json:"restart"`
}

// changePasses is a counter that grows with each change.
const changePasses = `ipvs_proxier_passes_total{result="success"}`

// control runs ipvs-load on node1.
func (c *cluster) control(args ...string) (*controlReport, string, error) {
	c.t.Helper()
	cmd := exec.Command(programs.Path("ipvs-load"), args...)
	var output, log strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &log
	c.must(c.Node1.Start(cmd))
	err := cmd.Wait()
	r := &controlReport{}
	if err == nil {
		err = json.Unmarshal([]byte(output.String()), r)
	}
	return r, output.String() + log.String(), err
}

// TestControlKnowsWhatIsComplete: what belongs to a dataplane is waited for, and what does not come is named; a second
// start is measured; and what was recorded makes the same virtual servers again.
func TestControlKnowsWhatIsComplete(t *testing.T) {
	c := newCluster(t)
	record := filepath.Join(t.TempDir(), "writes")
	measure := func(addresses, entries, timeout string, more ...string) (*controlReport, string, error) {
		args := append([]string{"control", "--json", "--services", "50", "--endpoints", "4", "--changes", "3", "--idle",
			"0s", "--timeout", timeout,
			"--vips", "kube-ipvs0=" + addresses, "--set", "IPVSP-FRONT-END=" + entries, "--settled",
			"iptables-save -t nat | grep -q IPVSP-MASQUERADE",
			"--ready", ownMetrics + " ^kubeproxy_sync_proxy_rules_last_timestamp_seconds [1-9]", "--metrics", ownMetrics,
			"--histogram", "ipvs_proxier_change_duration_seconds",
			"--counter", changePasses}, more...)
		return c.control(append(args, "--", programs.Path("ipvs-proxier"), "run", "--node-name", "node1", "--manifests",
			"{manifests}")...)
	}
	r, text, err := measure("50", "50", "1m", "--restart", "--record", record)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	// A change is seen in the kernel before the pass that brought it has ended, so the last pass may not be counted
	// yet.
	if r.Complete == nil || *r.Complete < r.First.Took || r.Ready == nil || r.Restart == nil || r.Restart.Took <= 0 ||
		len(r.Histograms) == 0 || r.Changes.Counters[changePasses] < 2 {
		t.Errorf("%s", text)
	}
	if n := r.First.ByKind["ipvs new-dest"]; n != 200 {
		t.Errorf("%d real servers were written, want 200\n%s", n, text)
	}
	if n := r.Restart.ByKind["ipvs new-dest"] + r.Restart.ByKind["route new-addr"] + r.Restart.ByKind["ipset add"]; n != 0 {
		t.Errorf("a second start writes\n%s", text)
	}
	output, err := c.Node2.Run(programs.Path("ipvs-load"), "replay", "--json", record)
	c.must(err)
	kernel, err := c.Node2.Run("ipvsadm", "-Sn")
	c.must(err)
	if servers, ends := strings.Count(kernel, "-A -t "), strings.Count(kernel, "-a -t "); servers != 50 || ends != 200 {
		t.Errorf("a replay makes %d virtual servers and %d real servers, want 50 and 200\n%s", servers, ends, output)
	}
	for want, counts := range map[string][2]string{
		"link kube-ipvs0 has 50 addresses of 51": {"51", "50"}, "set IPVSP-FRONT-END has 50 entries of 51": {"50", "51"},
	} {
		// All of it passes: it must be enough for the rest on a busy machine.
		_, text, err := measure(counts[0], counts[1], "20s")
		if err == nil || !strings.Contains(text, want) {
			t.Errorf("%v, want %q:\n%s", err, want, text)
		}
	}
}

// TestProbe: an endpoint that comes and one that goes are seen from outside when they do.
func TestProbe(t *testing.T) {
	c := newCluster(t)
	one, two, client := c.backend(1, 10, "one"), c.backend(1, 11, "two"), c.pod(1, 50, "client")
	c.write("web.yaml", with(web(), one))
	c.write("both", with(web(), one, two)) // no manifest by its name
	c.write("one", with(web(), one))
	c.run()
	put := func(name string) string {
		return "cp " + filepath.Join(c.manifests, name) + " " + c.manifests + "/.new && mv " + c.manifests + "/.new " +
			c.manifests + "/web.yaml"
	}
	for network, to := range map[string]string{"tcp": web4.String(), "udp": web6.String()} {
		for _, expect := range []string{"endpoint=two", "not-endpoint=one"} {
			// Away from the other endpoint means that it goes: the manifest with two alone.
			change := put("both")
			if expect == "not-endpoint=one" {
				c.write("two", with(web(), two))
				change = put("two")
			}
			cmd := exec.Command(programs.Path("ipvs-load"), "probe", "--json", "--rate", "100", "--expect", expect,
				"--repetitions", "2", "--change", change, "--undo", put("one"), network+"://"+to)
			var output, log strings.Builder
			cmd.Stdout, cmd.Stderr = &output, &log
			c.must(client.Start(cmd))
			err := cmd.Wait()
			var r struct {
				Measurements []struct {
					First  *float64 `json:"first_ms"`
					Stable *float64 `json:"stable_ms"`
				} `json:"measurements"`
			}
			c.must(json.Unmarshal([]byte(output.String()), &r))
			if err != nil || len(r.Measurements) != 2 {
				t.Fatalf("%s %s: %v\n%s%s", network, expect, err, output.String(), log.String())
			}
			for _, m := range r.Measurements {
				if m.First == nil || *m.First < 0 || m.Stable == nil || *m.Stable < *m.First {
					t.Errorf("%s %s: %s", network, expect, output.String())
				}
			}
		}
	}
}
