//go:build e2e

package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
)

// undoing takes away, again and again, what it is given as commands of a shell, and counts how often each was there.
type undoing struct {
	*harness.Process
	c *cluster
}

// undo starts a shell on node1 that goes over the commands every 300 ms. Each that succeeds is an object undone.
func (c *cluster) undo(commands map[string]string) *undoing {
	c.t.Helper()
	var script strings.Builder
	script.WriteString("while true; do\n")
	for name, command := range commands {
		fmt.Fprintf(&script, "if %s 2>/dev/null; then echo undone: %s; fi\n", command, name)
	}
	script.WriteString("sleep 0.3; done")
	p, err := harness.Start(c.Node1, "sh", "-c", script.String())
	c.must(err)
	c.t.Cleanup(p.Kill)
	return &undoing{p, c}
}

// times returns how often the object was undone.
func (u *undoing) times(name string) int { return strings.Count(u.Output(), "undone: "+name+"\n") }

// contestedObjects returns the metric of all kinds.
func (c *cluster) contestedObjects(kind string) (float64, error) {
	return c.proxier.Metric(fmt.Sprintf("ipvs_proxier_contested_objects{kind=%q}", kind))
}

// TestASecondWriter: a shell takes a virtual server, an address and rules away as often as they come. Five times they
// are repaired as soon as that is found, and then once in a tenth of the window. Status, /readyz, metric and log say
// so, and name object and Service. What the API changes is written at once. When the shell stops, all is in line at the
// next time, and a window later nothing is reported any more.
func TestASecondWriter(t *testing.T) {
	const window = 30 * time.Second
	c := newCluster(t)
	client := c.pod(1, 50, "client")
	one, two := c.backend(1, 10, "one"), c.backend(2, 10, "two")
	other := service("other", []string{"10.96.0.20", "fd00:10:96::20"})
	c.write("web.yaml", with(web(), one))
	c.write("other.yaml", with(other, one))
	c.run("--audit-period", "1s", "--contest-window", window.String())
	c.awaitRest()
	before := strings.Join(c.sorted(), "\n")
	if err := c.readiness(true, ""); err != nil {
		t.Error(err)
	}
	commands := map[string]string{
		"server":  "ipvsadm -D -t 10.96.0.10:80",
		"address": "ip addr del 10.96.0.20/32 dev kube-ipvs0",
	}
	contested := map[string]string{"virtual-server": "tcp 10.96.0.10:80", "address": "10.96.0.20"}
	if os.Getenv("IPVSP_NETFILTER") == "" { // rules are those of iptables
		commands["rules"] = "! iptables -w -t nat -C IPVSP-POSTROUTING -j RETURN && iptables -w -t nat -I IPVSP-POSTROUTING -j RETURN"
		contested["chain"] = "rules ipv4 nat"
	}
	objects := fmt.Sprintf("%d objects", len(contested))
	writer := c.undo(commands)
	c.must(harness.Await(2*time.Minute, func() error {
		for kind := range contested {
			if n, err := c.contestedObjects(kind); err != nil || n != 1 {
				return fmt.Errorf("the metric of %s is %v, %w\n%s", kind, n, err, writer.Output())
			}
		}
		return nil
	}))
	status := func() (string, error) { return c.Node1.Run(programs.Path("ipvs-proxier"), "status", "-o", "json") }
	c.await(func() error {
		text, err := status()
		if err == nil {
			return errStill("status ends with 0: " + text)
		}
		for _, words := range []string{"CONTESTED: " + objects, "no known proxy is seen", "service default/web"} {
			if !strings.Contains(text, words) {
				return errStill("status does not say " + words + ": " + text)
			}
		}
		for _, object := range contested {
			if !strings.Contains(text, object) || !strings.Contains(c.proxier.Output(), object) {
				return errStill("status or the log does not name " + object + ": " + text)
			}
		}
		return c.readiness(false, objects+" are undone again and again")
	})
	if status, text, err := c.proxier.Get("http://127.0.0.1:10256/healthz"); err != nil || status != 200 {
		t.Errorf("/healthz is %d %s, %v", status, text, err)
	}

	// Repairs are counted over a time that the clock gives, so that a slow machine has fewer.
	was, began := writer.times("server"), time.Now()
	c.must(harness.Await(2*time.Minute, func() error {
		if n := writer.times("server") - was; n < 3 {
			return fmt.Errorf("undone %d times more, want 3", n)
		}
		return nil
	}))
	most := int(time.Since(began)/(window/10)) + 2
	if n := writer.times("server") - was; n > most {
		t.Errorf("within %s it was undone %d times more, want %d at most", time.Since(began), n, most)
	}
	if n := strings.Count(c.proxier.Output(), "reason=Contested"); n != len(contested) {
		t.Errorf("%d lines of the log are of a contest, want %d", n, len(contested))
	}

	// A change is written at once, between two repairs.
	third := service("third", []string{"10.96.0.30", "fd00:10:96::30"})
	c.write("third.yaml", with(third, two))
	c.await(func() error {
		if answer, err := harness.Ask(client, "tcp", at(netip.MustParseAddr("10.96.0.30"), 80)); err != nil ||
			answer.ID != "two" {
			return fmt.Errorf("%+v, %w", answer, err)
		}
		return nil
	})
	c.remove("third.yaml")

	writer.Kill()
	c.must(harness.Await(time.Minute, func() error {
		if now := strings.Join(c.sorted(), "\n"); now != before {
			return fmt.Errorf("after the end of the writer the kernel has\n%s\nwant\n%s", now, before)
		}
		return nil
	}))
	c.must(harness.Await(3*window, func() error { return c.readiness(true, "") }))
	if text, err := c.Node1.Run(programs.Path("ipvs-proxier"), "status"); err != nil ||
		strings.Contains(text, "Contested") {
		t.Errorf("at last status ends with %v:\n%s", err, text)
	}
	for kind := range contested {
		if n, err := c.contestedObjects(kind); err != nil || n != 0 {
			t.Errorf("at last the metric of %s is %v, %v", kind, n, err)
		}
	}
}

// TestASecondWriterIsKubeProxy: the real kube-proxy in ipvs mode is started beside, as a mistaken DaemonSet would. It
// sets a scheduler back that an annotation has chosen. It is named with its process, and the API's changes go on.
func TestASecondWriterIsKubeProxy(t *testing.T) {
	c := newCluster(t)
	ctx := t.Context()
	one := c.backend(1, 10, "one")
	kubeconfig, api, _ := c.startAPIServer(c.Node1)
	c.readyNode(api, c.Node1.Name)
	s := web()
	dual := v1.IPFamilyPolicyRequireDualStack
	s.Spec.IPFamilyPolicy = &dual
	s.Annotations = map[string]string{"ipvs-proxier.io/scheduler": "lc"}
	_, err := api.CoreV1().Services("default").Create(ctx, s, metav1.CreateOptions{})
	c.must(err)
	for _, slice := range endpointSlices(s, one) {
		_, err := api.DiscoveryV1().EndpointSlices("default").Create(ctx, slice, metav1.CreateOptions{})
		c.must(err)
	}
	c.start("--kubeconfig", kubeconfig, "--audit-period", "1s", "--contest-window", "2m")
	c.must(c.proxier.AwaitReady())
	kubeProxy := c.startKubeProxyIn("ipvs", c.Node1, kubeconfig, "--ipvs-sync-period", "3s", "--ipvs-min-sync-period",
		"1s")
	want := fmt.Sprintf("kube-proxy runs on this node (process %d)", kubeProxy.PID())
	c.must(harness.Await(4*time.Minute, func() error {
		if kubeProxy.Ended() {
			t.Fatal("kube-proxy has ended")
		}
		return c.readiness(false, want)
	}))
	text, err := c.Node1.Run(programs.Path("ipvs-proxier"), "status")
	if flat := strings.Join(strings.Fields(text), " "); err == nil || !strings.Contains(flat, want) ||
		!strings.Contains(flat, "KUBE-") {
		t.Errorf("status ends with %v:\n%s", err, text)
	}
}
