//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"unicode/utf8"

	v1 "k8s.io/api/core/v1"
)

// TestStatusPageSaysWhyEndpointsAreLeftOut: the page of a Service lists all endpoints of its slices, and says of each
// one that gets no new connections here why that is so; what it says is what the kernel does.
func TestStatusPageSaysWhyEndpointsAreLeftOut(t *testing.T) {
	c := newCluster(t)
	here, away := c.backend(1, 10, "here"), c.backend(2, 10, "away")
	unready, leaving, idle := c.pod(1, 11, "unready"), c.pod(1, 12, "leaving"), c.pod(2, 11, "idle")
	s := web(nodePort, externalLocal, scheduled("lc"))
	slices := endpointSlices(s, here, away, unready, leaving)
	light := endpointSlices(s, idle)
	for i := range slices {
		slices[i].Endpoints[2].Conditions.Ready = new(false)
		slices[i].Endpoints[2].Conditions.Serving = new(false)
		slices[i].Endpoints[3].Conditions.Ready = new(false)
		slices[i].Endpoints[3].Conditions.Terminating = new(true)
		light[i].Name += "-light"
		light[i].Annotations = map[string]string{"ipvs-proxier.io/weight": "0"}
	}
	text := manifest(s)
	for i := range slices {
		text += "---\n" + manifest(slices[i]) + "---\n" + manifest(light[i])
	}
	headless := service("headless", []string{"10.96.0.99"}, func(s *v1.Service) {
		s.Spec.ClusterIP, s.Spec.ClusterIPs = v1.ClusterIPNone, []string{v1.ClusterIPNone}
	})
	c.write("web.yaml", text, manifest(headless))
	c.run("--audit-period", "0s")

	page, err := c.proxier.StatusText("default/web")
	if err != nil {
		t.Fatalf("status ends with %v and says\n%s", err, page)
	}
	t.Logf("the page:\n%s", page)
	for line := range strings.Lines(page) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
			t.Errorf("a line of %d columns: %s", n, line)
		}
	}
	for _, word := range []string{
		"all is right", "scheduler lc (annotation ipvs-proxier.io/scheduler)", "externalTrafficPolicy Local", "NodePort",
		web4.String(), web6.String(),
	} {
		if !strings.Contains(page, word) {
			t.Errorf("the page does not say %q", word)
		}
	}
	var status struct {
		Services []struct {
			Detail struct {
				Endpoints []struct {
					Port, Protocol, Address, Node, State string
					TakesFrom                            []string
					LeftOut                              []struct {
						FrontEnds []string
						Because   string
					}
				}
			}
		}
	}
	text, err = c.proxier.StatusText("default/web", "-o", "json")
	c.must(err)
	c.must(json.Unmarshal([]byte(text), &status))
	const elsewhere = "NodePort: it is on another node, and the traffic policy is Local"
	want := map[netip.Addr]string{}
	for pod, why := range map[interface{ String() string }]string{
		here.IPv4: "", away.IPv4: elsewhere, unready.IPv4: "ClusterIP,NodePort: it is not ready",
		leaving.IPv4: "ClusterIP,NodePort: it terminates, and others are ready",
		idle.IPv4:    "ClusterIP: its weight is 0 (annotation of the EndpointSlice); " + elsewhere,
	} {
		want[netip.MustParseAddr(pod.String())] = why
	}
	seen := 0
	for _, e := range status.Services[0].Detail.Endpoints {
		at := netip.MustParseAddrPort(e.Address)
		if at.Addr().Is6() {
			continue
		}
		seen++
		var because []string
		for _, l := range e.LeftOut {
			because = append(because, strings.Join(l.FrontEnds, ",")+": "+l.Because)
		}
		if got := strings.Join(because, "; "); got != want[at.Addr()] {
			t.Errorf("%s %s: left out %q, want %q", e.Protocol, e.Address, got, want[at.Addr()])
		}
		// The kernel agrees with it.
		for kind, vip := range map[string]string{"ClusterIP": web4.String(), "NodePort": fmt.Sprintf("%s:%d",
			c.Node1.IPv4, webNodePort)} {
			out, err := c.Node1.Run("ipvsadm", "-Ln", map[string]string{"tcp": "-t", "udp": "-u"}[e.Protocol], vip)
			c.must(err)
			takes := false
			for line := range strings.Lines(out) {
				f := strings.Fields(line)
				takes = takes || len(f) > 3 && f[1] == e.Address && f[3] != "0"
			}
			said := strings.Contains(strings.Join(e.TakesFrom, " "), kind)
			if takes != said {
				t.Errorf("%s takes new connections from %s: the kernel says %v, status %v:\n%s", e.Address, kind, takes, said, out)
			}
		}
	}
	if seen != 10 {
		t.Errorf("%d endpoints of IPv4, want 5 of two ports", seen)
	}
	_, err = c.Node1.Run("ipvsadm", "-d", "-t", web4.String(), "-r", here.IPv4.String()+":8080")
	c.must(err)
	if page, err = c.proxier.StatusText("default/web"); err == nil ||
		!strings.Contains(page, "left out of ClusterIP: the kernel does not have it") {
		t.Errorf("without the real server status ends with %v and says\n%s", err, page)
	}
	for name, why := range map[string]string{
		"default/headless": "it is headless", "default/nothing": "no such Service is known",
	} {
		if page, err = c.proxier.StatusText(name); err == nil || !strings.Contains(err.Error()+page, why) {
			t.Errorf("%s: status ends with %v and says\n%s\nwant %q", name, err, page, why)
		}
	}
	if names, err := c.proxier.StatusText("-o", "name"); err == nil || strings.Count(names, "\n") != 2 ||
		!strings.HasPrefix(names, "default/web\nipvs-proxier: DRIFT") {
		t.Errorf("the names are %q, %v; want that of the one that is served, and exit status 1 for the drift", names, err)
	}
	tree, _ := c.proxier.StatusText() // the drift ends it with 1, which it says in a line of its own
	for line := range strings.Lines(tree) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 && !strings.HasPrefix(line, "ipvs-proxier: ") {
			t.Errorf("status has a line of %d columns: %s", n, line)
		}
	}
}
