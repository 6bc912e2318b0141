//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// scenarioRun is what ipvs-load scenario --json prints, as far as it is used here.
type scenarioRun struct {
	Variants []struct {
		Name   string
		Rounds []struct {
			Requests    struct{ Answered, Errors int64 }
			Connections *struct{ Held, Lost int64 }
			Stickiness  struct{ Clients, Sticky int }
			Events      []struct {
				Name, Failure string
				At            float64          `json:"at_s"`
				Errors        map[string]int64 `json:"errors"`
				FirstAnswer   *float64         `json:"first_answer_s"`
				LastRequest   *float64         `json:"last_request_s"`
			}
		}
	}
}

func (c *cluster) scenario(h *topology.Host, name string, values ...string) *scenarioRun {
	c.t.Helper()
	args := []string{"scenario", name, "--json", "--repetitions", "1"}
	for _, v := range values {
		args = append(args, "--set", `"`+v+`"`)
	}
	cmd := exec.Command(programs.Path("ipvs-load"), args...)
	var output, log strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &log
	c.must(h.Start(cmd))
	err := cmd.Wait()
	r := &scenarioRun{}
	if decode := json.Unmarshal([]byte(output.String()), r); err != nil || decode != nil {
		c.t.Fatalf("%s: %v, %v\n%s\n%s", name, err, decode, log.String(), output.String())
	}
	for _, v := range r.Variants {
		for _, p := range v.Rounds {
			if p.Requests.Answered == 0 || p.Requests.Errors > 0 {
				c.t.Errorf("%s, %s: %d answered, %d errors, events %+v",
					name, v.Name, p.Requests.Answered, p.Requests.Errors, p.Events)
			}
		}
	}
	return r
}

// TestScenarios carries out the scenarios of the library that change something, against the real proxier: they work as
// they stand there, and nothing breaks.
func TestScenarios(t *testing.T) {
	c := newCluster(t)
	old, kept, fresh := c.backend(1, 10, "old"), c.backend(2, 10, "kept"), c.backend(1, 11, "new")
	client := c.pod(1, 50, "client")
	file := func(name string, pods ...*topology.Host) string {
		path := filepath.Join(c.manifests, name)
		c.must(os.WriteFile(path, []byte(with(web(scheduled("rr")), pods...)), 0o644))
		return "cp " + path + " " + c.manifests + "/.x && mv " + c.manifests + "/.x " + c.manifests + "/web.yaml"
	}
	// No manifests by their names.
	both, three, without := file("both", old, kept), file("three", old, kept, fresh), file("without", kept, fresh)
	c.write("web.yaml", with(web(scheduled("rr")), old, kept))
	c.run()
	target, rate := "TARGET=tcp://"+web4.String(), fmt.Sprint("RATE=", harness.Unhurriedly(50, 5))

	r := c.scenario(client, "rolling-update", target, rate, "DURATION=18s", "NEW=new", "ADD="+three, "OLD=old",
		"REMOVE="+without)
	events := r.Variants[0].Rounds[0].Events
	if len(events) != 2 || events[0].FirstAnswer == nil || *events[0].FirstAnswer < events[0].At ||
		events[1].Failure != "" {
		t.Errorf("rolling-update: %+v", events)
	}
	// What was open when the endpoint went may still be answered by it, nothing that was begun long after.
	if last := events[1].LastRequest; last != nil && *last > 17.5 {
		t.Errorf("the old endpoint answered a request begun %.1f s after it was taken away", *last-events[1].At)
	}

	r = c.scenario(client, "drain", target, "CONNECTIONS=40", "DURATION=15s", "OLD=new", "REMOVE="+both)
	if held := r.Variants[0].Rounds[0].Connections; held == nil || held.Held != 40 || held.Lost != 0 {
		t.Errorf("drain: %+v", held)
	}

	// The proxy is killed, and started again by a command, as an operator would.
	start := programs.Path("ipvs-proxier") + " run --node-name node1 --cluster-cidr " + topology.PodCIDRs +
		" --manifests " + c.manifests + " >/tmp/again.log 2>&1 & echo $! >/tmp/again.pid"
	r = c.scenario(c.Node1, "proxy-restart", target, rate, "DURATION=14s", fmt.Sprint("KILL=kill -9 ", c.proxier.PID()),
		"START="+start)
	for _, e := range r.Variants[0].Rounds[0].Events {
		if e.Failure != "" {
			t.Errorf("proxy-restart: %s: %s", e.Name, e.Failure)
		}
	}
	t.Cleanup(func() { _, _ = c.Node1.Run("sh", "-c", "kill -9 $(cat /tmp/again.pid)") })
}
