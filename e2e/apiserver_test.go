//go:build e2e

package e2e

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// startAPIServer starts etcd and kube-apiserver on the host, where everybody may do everything, or what RBAC lets them.
// It returns a kubeconfig file, a client, and what ends the API server.
func (c *cluster) startAPIServer(
	h *topology.Host, authorization ...string,
) (kubeconfig string, client kubernetes.Interface, stop func()) {
	c.t.Helper()
	p := c.newControlPlane(h, authorization...)
	p.startEtcd()
	p.server = p.startServer(6443)
	c.rest, c.secondAPIServer = p.rest, func() *harness.Process { return p.startServer(6444) }
	began := time.Now()
	p.awaitServer()
	c.t.Logf("kube-apiserver was ready after %.0f s", time.Since(began).Seconds())
	return p.file("kubeconfig", kubeconfigFor(adminToken)), p.client, p.server.Kill
}

// TestKubernetesAPI feeds the proxier from a real API server.
func TestKubernetesAPI(t *testing.T) {
	c := newCluster(t)
	ctx := t.Context()
	pod := c.pod(1, 50, "client")
	one, two := c.backend(1, 10, "one"), c.backend(2, 10, "two")
	a, b := at(one.IPv4, 8080), at(two.IPv4, 8080)
	kubeconfig, client, stop := c.startAPIServer(c.Node1)
	services, slices := client.CoreV1().Services("default"), client.DiscoveryV1().EndpointSlices("default")
	dual := v1.IPFamilyPolicyRequireDualStack
	create := func(s *v1.Service, pods ...*topology.Host) *v1.Service {
		t.Helper()
		s.Spec.IPFamilyPolicy = &dual
		made, err := services.Create(ctx, s, metav1.CreateOptions{})
		c.must(err)
		for _, slice := range endpointSlices(s, pods...) {
			_, err := slices.Create(ctx, slice, metav1.CreateOptions{})
			c.must(err)
		}
		return made
	}
	// One is there before the proxier, one comes after.
	create(service("before", []string{"10.96.0.20", "fd00:10:96::20"}), two)
	c.start("--kubeconfig", kubeconfig, "--audit-period", "1s")
	c.must(c.proxier.AwaitReady())
	c.awaitVirtualServer("udp", at(netip.MustParseAddr("10.96.0.20"), 80), fmt.Sprintf("rr %s/1", b))

	made := create(web(nodePort, scheduled("lc")), one)
	c.awaitVirtualServer("tcp", web4, fmt.Sprintf("lc %s/1", a))
	c.awaitVirtualServer("tcp", web6, fmt.Sprintf("lc %s/1", at(one.IPv6, 8080)))
	// Asked by UDP, whose endpoints need not drain: what is compared below would change while they do.
	if answer := c.ask(pod, "udp", web4); answer.ID != "one" {
		t.Errorf("%s answers, want one", answer.ID)
	}
	if answer := c.ask(c.Outside, "udp", at(c.Node1.IPv6, webNodePort)); answer.ID != "one" {
		t.Errorf("%s answers on the node port, want one", answer.ID)
	}
	// An endpoint more; another scheduler; one less.
	for _, slice := range endpointSlices(web(), one, two) {
		_, err := slices.Update(ctx, slice, metav1.UpdateOptions{})
		c.must(err)
	}
	c.awaitVirtualServer("tcp", web4, fmt.Sprintf("lc %s/1 %s/1", a, b))
	made.Annotations["ipvs-proxier.io/scheduler"] = "rr"
	_, err := services.Update(ctx, made, metav1.UpdateOptions{})
	c.must(err)
	c.awaitVirtualServer("tcp", web4, fmt.Sprintf("rr %s/1 %s/1", a, b))
	for _, slice := range endpointSlices(web(), two) {
		_, err := slices.Update(ctx, slice, metav1.UpdateOptions{})
		c.must(err)
	}
	c.awaitVirtualServer("udp", web4, fmt.Sprintf("rr %s/1", b))
	// A Service goes with its slices.
	c.must(services.Delete(ctx, "before", metav1.DeleteOptions{}))
	for _, name := range []string{"before-ipv4", "before-ipv6"} {
		c.must(slices.Delete(ctx, name, metav1.DeleteOptions{}))
	}
	c.awaitVirtualServer("tcp", at(netip.MustParseAddr("10.96.0.20"), 80), "none")
	c.awaitVirtualServer("tcp", at(netip.MustParseAddr("fd00:10:96::20"), 80), "none")

	c.await(func() error {
		if s, err := c.proxier.Status(); err != nil || s.Draining > 0 {
			return fmt.Errorf("%+v, %w", s, err)
		}
		return nil
	})
	// Without an API server what is there stays, also over audits.
	before := c.dataplane()
	stop()
	audits := func() float64 {
		n, err := c.proxier.Metric("ipvs_proxier_audits_total")
		c.must(err)
		return n
	}
	until := audits() + 2
	c.await(func() error {
		if n := audits(); n < until {
			return fmt.Errorf("%v audits, want %v", n, until)
		}
		return nil
	})
	if now := c.dataplane(); now != before {
		t.Errorf("the dataplane is\n%s\nwant\n%s", now, before)
	}
	if answer := c.ask(pod, "tcp", web4); answer.ID != "two" {
		t.Errorf("%s answers, want two", answer.ID)
	}
}
