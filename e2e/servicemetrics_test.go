//go:build e2e

package e2e

import (
	"fmt"
	"regexp"
	"strconv"
	"testing"
)

// TestServiceMetrics: --service-metrics counts what clients of a Service have sent and got, in both families, by TCP
// and UDP. The counters go on over an exchange of the scheduler and over a restart, and end with the Service.
func TestServiceMetrics(t *testing.T) {
	c := newCluster(t)
	client := c.pod(1, 50, "client")
	one, two := c.backend(1, 10, "one"), c.backend(2, 10, "two")
	c.write("web.yaml", with(web(), one, two))
	c.write("idle.yaml", with(service("idle", []string{"10.96.0.11", "fd00:10:96::11"}), one))
	c.run("--service-metrics", "1")
	read := func(name, labels string) (value float64, found bool) {
		t.Helper()
		_, text, err := c.proxier.Get("http://127.0.0.1:10249/metrics")
		c.must(err)
		m := regexp.MustCompile(`(?m)^ipvs_proxier_service_` + regexp.QuoteMeta(name+labels) +
			` (\S+)$`).FindStringSubmatch(text)
		if m == nil {
			return 0, false
		}
		value, err = strconv.ParseFloat(m[1], 64)
		c.must(err)
		return value, true
	}
	const of, in, out = `{namespace="default",service="web"}`,
		`{direction="in",namespace="default",service="web"}`, `{direction="out",namespace="default",service="web"}`
	connections := 0.0
	ask := func(after string) {
		t.Helper()
		for _, to := range []string{"tcp://" + web4.String(), "tcp://" + web6.String(), "udp://" + web4.String()} {
			mode := "crr"
			if to[:3] == "udp" {
				mode = "udp-rr"
			}
			c.load(client, "--mode", mode, "--rate", "50", "--count", "10", to)
			connections += 10
		}
		c.await(func() error { // a scrape may get what was read five seconds ago
			if got, _ := read("connections_total", of); got != connections {
				return fmt.Errorf("after %s the metric has %v connections, want %v", after, got, connections)
			}
			return nil
		})
		packetsIn, _ := read("packets_total", in)
		packetsOut, _ := read("packets_total", out)
		bytesIn, _ := read("bytes_total", in)
		bytesOut, _ := read("bytes_total", out)
		if packetsIn < connections || packetsOut < connections || bytesIn < 28*packetsIn || bytesOut < 28*packetsOut {
			t.Errorf("after %s: %v packets of %v bytes in, %v of %v out", after, packetsIn, bytesIn, packetsOut, bytesOut)
		}
	}
	ask("the start")
	if omitted, _ := read("metrics_omitted", ""); omitted != 1 {
		t.Errorf("%v Services have no metrics, want 1", omitted)
	}
	c.write("web.yaml", with(web(scheduled("lc")), one, two))
	c.awaitVirtualServer("tcp", web4, "lc 10.244.1.10:8080/1 10.244.2.10:8080/1")
	ask("an exchange of the scheduler")
	c.proxier.Kill()
	c.again()
	ask("a restart")
	c.remove("web.yaml")
	c.await(func() error {
		if _, found := read("connections_total", of); found {
			return fmt.Errorf("the Service has gone, and its metrics have not")
		}
		return nil
	})
}
