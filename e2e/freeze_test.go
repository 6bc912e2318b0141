//go:build e2e

package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestFreeze: in a freeze endpoints change and a virtual server is taken away, and nothing is written, over a SIGKILL
// too. Status, metrics and the log show it. Its end, early or by itself, brings the kernel in line at once.
func TestFreeze(t *testing.T) {
	c := newCluster(t)
	client := c.pod(1, 50, "client")
	one, two := c.backend(1, 10, "one"), c.backend(2, 10, "two")
	c.write("web.yaml", with(web(), one))
	c.run("--state-dir", filepath.Join(t.TempDir(), "state"))
	command := func(args ...string) (string, error) {
		return c.Node1.Run(programs.Path("ipvs-proxier"), args...)
	}
	answers := func(when, id string) {
		t.Helper()
		c.await(func() error {
			if got := c.ask(client, "tcp", web4).ID; got != id {
				return fmt.Errorf("%s %s answers, want %s", when, got, id)
			}
			return nil
		})
	}
	answers("at first", "one")
	text, err := command("freeze", "1h", "--reason", "incident 42")
	if err != nil || !strings.Contains(text, "(incident 42): nothing is written") || strings.Contains(text, "restart") {
		t.Fatalf("freeze ends with %v: %s", err, text)
	}
	before := strings.Join(c.sorted(), "\n")
	unchanged := func(when string) {
		t.Helper()
		if now := strings.Join(c.sorted(), "\n"); now != before {
			t.Errorf("%s the kernel is another one:\n%s\nbefore:\n%s", when, now, before)
		}
	}
	c.write("web.yaml", with(web(), two))
	c.await(func() error {
		text, err := command("status")
		if err != nil || !strings.Contains(text, "FROZEN until") || !strings.Contains(text, "of 1 Service wait") {
			return fmt.Errorf("status ends with %w:\n%s", err, text)
		}
		return nil
	})
	unchanged("after a change")
	if until, err := c.proxier.Metric("ipvs_proxier_frozen_until_timestamp_seconds"); err != nil ||
		until < float64(time.Now().Unix()) {
		t.Errorf("the metric is %v, %v", until, err)
	}
	if !strings.Contains(c.proxier.Output(), "frozen: nothing is written to the kernel") {
		t.Error("the log does not say it")
	}
	if text, err := command("journal"); err != nil || !strings.Contains(text, "incident 42") {
		t.Errorf("the journal ends with %v:\n%s", err, text)
	}

	c.proxier.Kill()
	c.start(c.args...)
	c.await(func() error {
		text, err := command("freeze")
		if err != nil || !strings.Contains(text, "incident 42") {
			return fmt.Errorf("after a SIGKILL: %w: %s", err, text)
		}
		return nil
	})
	unchanged("after a SIGKILL")
	if text, err := command("status"); err == nil || !strings.Contains(text, "nothing has been written since the start") {
		t.Errorf("then status ends with %v:\n%s", err, text)
	}
	answers("then", "one")
	if text, err := command("freeze", "off"); err != nil || !strings.Contains(text, "not frozen") {
		t.Errorf("freeze off ends with %v: %s", err, text)
	}
	answers("after its end", "two")

	if text, err := command("freeze", "3s"); err != nil {
		t.Fatalf("freeze ends with %v: %s", err, text)
	}
	servers, err := c.kernel.Handle().GetServices()
	c.must(err)
	for _, s := range servers {
		c.must(c.kernel.Handle().DelService(s))
	}
	c.write("web.yaml", with(web(), one))
	c.await(func() error { // until then clients are refused
		if text, err := command("freeze"); err != nil || !strings.Contains(text, "not frozen") || c.virtualServersGone() {
			return fmt.Errorf("the freeze does not end: %w: %s", err, text)
		}
		return nil
	})
	answers("after a freeze that ended by itself", "one")
	if text, err := command("status"); err != nil || strings.Contains(text, "FROZEN") {
		t.Errorf("at last status ends with %v:\n%s", err, text)
	}
}

// virtualServersGone reports whether the kernel has none.
func (c *cluster) virtualServersGone() bool {
	servers, err := c.kernel.Handle().GetServices()
	return err == nil && len(servers) == 0
}
