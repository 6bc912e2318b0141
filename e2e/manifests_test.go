//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
)

// TestBrokenManifest: a file with a mistake changes nothing and is reported with its line; once corrected, it counts
// again.
func TestBrokenManifest(t *testing.T) {
	c := newCluster(t)
	backend := c.backend(1, 10, "one")
	text := fmt.Sprintf("rr %s/1", at(backend.IPv4, 8080))
	c.write("web.yaml", with(web(), backend))
	c.write("broken-from-the-start.yaml", "kind: [\n")
	c.run()
	c.awaitVirtualServer("tcp", web4, text)

	c.write("web.yaml", "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\nspec:\n  clusterIp: 10.96.0.10\n")
	c.await(func() error {
		s, err := c.proxier.Status()
		if err != nil {
			return err
		}
		said := strings.Join(s.Manifests, "\n")
		for _, word := range []string{"web.yaml", "clusterIp", "broken-from-the-start.yaml"} {
			if !strings.Contains(said, word) {
				return fmt.Errorf("status says %q, without %s", said, word)
			}
		}
		return nil
	})
	c.awaitVirtualServer("tcp", web4, text)
	if !strings.Contains(c.proxier.Output(), "web.yaml") {
		t.Errorf("the log does not name the file:\n%s", c.proxier.Output())
	}
	c.write("web.yaml", with(web(scheduled("lc")), backend))
	c.awaitVirtualServer("tcp", web4, strings.Replace(text, "rr", "lc", 1))
	// An object that a second file has too stays as it is, and both files are named.
	c.write("zz-copy.yaml", with(web(scheduled("sh")), backend))
	c.await(func() error {
		s, err := c.proxier.Status()
		if err != nil {
			return err
		}
		if said := strings.Join(s.Manifests, "\n"); !strings.Contains(said, "zz-copy.yaml") ||
			!strings.Contains(said, " web.yaml") && !strings.Contains(said, "/web.yaml") {
			return fmt.Errorf("status says %q, want both files named", said)
		}
		return nil
	})
	c.awaitVirtualServer("tcp", web4, strings.Replace(text, "rr", "lc", 1))
	c.remove("web.yaml")
	c.awaitVirtualServer("tcp", web4, fmt.Sprintf("sh %s/256", at(backend.IPv4, 8080)))
}

// TestWrongUse: what an operator gets wrong is refused with status 2, and named.
func TestWrongUse(t *testing.T) {
	c := newCluster(t)
	config := filepath.Join(t.TempDir(), "config.yaml")
	c.must(os.WriteFile(config, []byte("apiVersion: ipvs-proxier.io/v1alpha1\nkind: Configuration\nmasqueradAll: true\n"),
		0o644))
	for _, use := range []struct {
		args string
		said []string
	}{
		{"run --manifests " + c.manifests + " --config " + config, []string{"masqueradAll", "masqueradeAll"}},
		{"run --manifests " + c.manifests + " --ipvs-scheduler quickest", []string{"quickest", "rr", "lc", "sh"}},
		{"run --manifests " + c.manifests + " --cluster-cidr 10.244.0.0", []string{"10.244.0.0"}},
		{"run --manifest " + c.manifests, []string{"--manifest", "--manifests"}},
		{"run --manifests /nowhere", []string{"/nowhere"}},
		{"statsu", []string{"statsu", "status"}},
	} {
		output, err := c.Node1.Run(programs.Path("ipvs-proxier"), strings.Fields(use.args)...)
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() == 0 || strings.Contains(output, "goroutine") {
			t.Errorf("%s: %v\n%s", use.args, err, output)
			continue
		}
		if exit.ExitCode() != 2 && !strings.Contains(use.args, "nowhere") {
			t.Errorf("%s: exit status %d, want 2", use.args, exit.ExitCode())
		}
		for _, word := range use.said {
			if !strings.Contains(output, word) {
				t.Errorf("%s: %q does not name %s", use.args, output, word)
			}
		}
	}
}

// many returns n Services with five endpoints each, of which the kernel needs no pod to exist.
func many(from, n, change int) string {
	var b strings.Builder
	for i := from; i < from+n; i++ {
		fmt.Fprintf(&b, `---
apiVersion: v1
kind: Service
metadata: {name: many-%[1]d}
spec: {clusterIP: 10.96.%[2]d.%[3]d, clusterIPs: [10.96.%[2]d.%[3]d], ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: many-%[1]d-a, labels: {kubernetes.io/service-name: many-%[1]d}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints:
`, i, 100+i/250, 1+i%250)
		for e := range 5 {
			last := 1 + e
			if i == change && e == 4 {
				last = 9
			}
			fmt.Fprintf(&b, "- {addresses: [10.244.%d.%d], nodeName: node%d}\n", 3+i%200, last*10, e%3+2)
		}
	}
	return b.String()
}

// TestOneChangeCostsTheSameAmongMany: 1,000 Services with 5 endpoints each come from a manifests directory; then one
// endpoint of one Service is exchanged, which costs as much with 1,000 Services as with 10.
func TestOneChangeCostsTheSameAmongMany(t *testing.T) {
	type cost struct{ Operations, Messages, Sends, Processes float64 }
	costOfOne := map[int]cost{}
	for _, n := range []int{10, 1000} {
		t.Run(fmt.Sprintf("%d Services", n), func(t *testing.T) {
			c := newCluster(t)
			// The one that changes lies in a file of its own.
			c.write("one.yaml", many(0, 1, -1))
			c.write("others.yaml", many(1, n-1, -1))
			count := func() (now cost) {
				for _, m := range []struct {
					name string
					into *float64
				}{{"operations_total", &now.Operations}, {
					"netlink_messages_total", &now.Messages,
				}, {"netlink_sends_total", &now.Sends}, {"processes_started_total", &now.Processes}} {
					v, err := c.proxier.Metric("ipvs_proxier_" + m.name)
					c.must(err)
					*m.into = v
				}
				return now
			}
			began := time.Now()
			// Without draining the old endpoint goes in the same pass in which the new one comes.
			c.run("--audit-period", "0", "--drain-timeout", "0")
			took := time.Since(began)
			if have, err := c.kernel.Count(); err != nil || have != n {
				t.Fatalf("%d virtual servers in the kernel, want %d; %v", have, n, err)
			}
			first := count()
			last := netip.AddrFrom4([4]byte{10, 96, byte(100 + (n-1)/250), byte(1 + (n-1)%250)})
			v, err := c.kernel.VirtualServer("tcp", at(last, 80))
			c.must(err)
			if v == nil || len(v.RealServers) != 5 {
				t.Errorf("the last Service has %s, want 5 real servers", v.Text())
			}
			t.Logf("%d Services × 5 endpoints: in the kernel %.1f s after the start of the program; %+v", n, took.Seconds(), first)

			c.write("one.yaml", many(0, 1, 0))
			at0 := netip.MustParseAddrPort("10.96.100.1:80")
			c.await(func() error {
				v, err := c.kernel.VirtualServer("tcp", at0)
				if err == nil && !strings.Contains(v.Text(), ".90:") {
					err = errors.New(v.Text())
				}
				return err
			})
			// The operations are counted when the pass is over.
			var after cost
			c.await(func() error {
				if after = count(); after.Operations == first.Operations {
					return errors.New("no operation counted")
				}
				return nil
			})
			costOfOne[n] = cost{
				after.Operations - first.Operations, after.Messages - first.Messages, after.Sends - first.Sends,
				after.Processes - first.Processes,
			}
			t.Logf("one endpoint exchanged among %d Services: %+v", n, costOfOne[n])
		})
	}
	// Messages are shown and not compared: the kernel's news of addresses may have made the proxier list them
	// meanwhile.
	a, b := costOfOne[10], costOfOne[1000]
	// One comes, one goes, and the first four of the list may have to be put into their order of this node.
	if a.Operations > 6 || a.Operations != b.Operations || b.Processes != 0 {
		t.Errorf("one exchange costs %+v with 10 Services and %+v with 1,000; want the same 2 to 6 operations and no process", a, b)
	}
}

// TestEditorsAndRenames: files are taken as editors and tools leave them; half-written ones are not.
func TestEditorsAndRenames(t *testing.T) {
	c := newCluster(t)
	backend := c.backend(1, 10, "one")
	text := func(scheduler string) string { return fmt.Sprintf("%s %s/1", scheduler, at(backend.IPv4, 8080)) }
	c.write("web.yaml", with(web(), backend))
	c.run()
	path := filepath.Join(c.manifests, "web.yaml")
	// Written in place.
	c.must(os.WriteFile(path, []byte(with(web(scheduled("lc")), backend)), 0o644))
	c.awaitVirtualServer("tcp", web4, text("lc"))
	// What editors leave beside it is not read: these would be second copies.
	for _, name := range []string{".web.yaml.swp", "web.yaml~", "#web.yaml#", ".#web.yaml", "4913"} {
		c.must(os.WriteFile(filepath.Join(c.manifests, name), []byte("kind: [\n"), 0o644))
	}
	// Renamed over.
	c.write("web.yaml", with(web(scheduled("sh")), backend))
	c.awaitVirtualServer("tcp", web4, fmt.Sprintf("sh %s/256", at(backend.IPv4, 8080)))
	if s, err := c.proxier.Status(); err != nil || len(s.Manifests) != 0 {
		t.Errorf("status says %v, %v", s, err)
	}
	// As a whole directory is exchanged in a ConfigMap's mount, one level up.
	c.must(os.RemoveAll(c.manifests))
	c.must(os.Mkdir(c.manifests, 0o755))
	c.write("web.yaml", with(web(scheduled("rr")), backend))
	c.must(harness.Await(60*time.Second, func() error {
		v, err := c.kernel.VirtualServer("tcp", web4)
		if err == nil && v.Text() != text("rr") {
			err = errors.New(v.Text())
		}
		return err
	}))
}
