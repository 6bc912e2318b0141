//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
)

const autoscalerTaint = "ToBeDeletedByClusterAutoscaler"

// TestHealthIsTold feeds the proxier from a real API server, and checks what load balancers, the kubelet and users get
// to see.
func TestHealthIsTold(t *testing.T) {
	c := newCluster(t)
	ctx := t.Context()
	p1 := c.backend(1, 10, "p1")
	kubeconfig, client, _ := c.startAPIServer(c.Node1)
	c.start("--kubeconfig", kubeconfig)
	c.must(c.proxier.AwaitReady())

	// Row 124: a node that is missing, tainted by the autoscaler or being deleted gets no more clients, and is left to
	// run.
	nodes := client.CoreV1().Nodes()
	c.awaitHealth("the Node is missing", false)
	node, err := nodes.Create(ctx,
		&v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node1", Finalizers: []string{"example.com/held"}}},
		metav1.CreateOptions{})
	c.must(err)
	c.awaitHealth("the Node has come", true)
	c.becomeReady(client, node)
	patch := func(text string) {
		t.Helper()
		_, err := nodes.Patch(ctx, node.Name, "application/merge-patch+json", []byte(text), metav1.PatchOptions{})
		c.must(err)
	}
	patch(`{"spec": {"taints": [{"key": "dedicated", "effect": "NoSchedule"}, {"key": "` + autoscalerTaint +
		`", "effect": "NoSchedule"}]}}`)
	c.awaitHealth("the Node is tainted by the autoscaler", false)

	// Row 123: a health check node port that a program of the node has is an Event of its Service, and tried again. Row
	// 124: these ports do not mind the taint.
	var taken net.Listener
	c.must(c.Node1.Do(func() (err error) { taken, err = net.Listen("tcp", ":32000"); return err }))
	t.Cleanup(func() { taken.Close() })
	dual := v1.IPFamilyPolicyRequireDualStack
	create := func(s *v1.Service) *v1.Service {
		t.Helper()
		s.Spec.IPFamilyPolicy = &dual
		made, err := client.CoreV1().Services("default").Create(ctx, s, metav1.CreateOptions{})
		c.must(err)
		for _, slice := range endpointSlices(s, p1) {
			_, err := client.DiscoveryV1().EndpointSlices("default").Create(ctx, slice, metav1.CreateOptions{})
			c.must(err)
		}
		return made
	}
	blocked := create(service("blocked", []string{"10.96.1.1", "fd00:10:96::101"}, loadBalancer(1, 30081), externalLocal,
		healthCheck(32000)))
	create(service("free", []string{"10.96.1.2", "fd00:10:96::102"}, loadBalancer(2, 30082), externalLocal,
		healthCheck(32001)))
	c.awaitEvent(client, blocked, "FailedToStartServiceHealthcheck", "32000")
	c.await(func() error { return c.healthCheck(32001) })
	taken.Close()
	c.await(func() error { return c.healthCheck(32000) })

	// Each wrong value is reported, also the second in the same field and with the same reason.
	services := client.CoreV1().Services("default")
	wrong := create(web(scheduled("fastest")))
	c.awaitEvent(client, wrong, "InvalidAnnotation", "fastest")
	wrong.Annotations["ipvs-proxier.io/scheduler"] = "quickest"
	_, err = services.Update(ctx, wrong, metav1.UpdateOptions{})
	c.must(err)
	c.awaitEvent(client, wrong, "InvalidAnnotation", "quickest")

	patch(`{"spec": {"taints": [{"key": "dedicated", "effect": "NoSchedule"}]}}`)
	c.awaitHealth("the autoscaler has changed its mind", true)

	// Row 93: neither the status of a Service nor that of a Node takes away what is another's: the health port of this
	// node, a cluster IP.
	taker := create(service("taker", []string{"10.96.1.3", "fd00:10:96::103"}, loadBalancer(3, 0),
		func(s *v1.Service) { s.Spec.Ports[0].Port = 10256 }))
	taker.Status.LoadBalancer.Ingress = []v1.LoadBalancerIngress{{IP: c.Node1.IPv4.String()}}
	_, err = services.UpdateStatus(ctx, taker, metav1.UpdateOptions{})
	c.must(err)
	c.awaitEvent(client, taker, "AddressInUse", "--protected-ports")
	liar, err := nodes.Create(ctx, &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "liar"}}, metav1.CreateOptions{})
	c.must(err)
	liar.Status.Addresses = []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: wrong.Spec.ClusterIP}}
	_, err = nodes.UpdateStatus(ctx, liar, metav1.UpdateOptions{})
	c.must(err)
	c.awaitEventOn(client, "default", "Node", "liar", "NodeListsClusterIP", wrong.Spec.ClusterIP)
	if status, text, err := c.proxier.Get("http://" + at(c.Node1.IPv4, 10256).String() + "/livez"); err != nil ||
		status != 200 {
		t.Errorf("/livez at the node's address is %d %s, %v; want 200", status, text, err)
	}
	if answer := c.ask(c.pod(1, 50, "client"), "tcp", web4); answer.ID != "p1" {
		t.Errorf("%s answers at the cluster IP that a Node lists, want p1", answer.ID)
	}
	c.must(nodes.Delete(ctx, node.Name, metav1.DeleteOptions{}))
	c.awaitHealth("the Node is being deleted", false)
	patch(`{"metadata": {"finalizers": null}}`)
	c.awaitHealth("the Node is gone", false)

	for _, name := range []string{
		"kubeproxy_proxy_healthz_total", "kubeproxy_proxy_livez_total", "kubeproxy_sync_proxy_rules_last_timestamp_seconds",
		"kubeproxy_sync_proxy_rules_duration_seconds_count",
	} {
		if n, err := c.proxier.Metric(name); err != nil || n == 0 {
			t.Errorf("%s is %v, %v; want more than 0", name, n, err)
		}
	}
}

// awaitHealth waits until /healthz reports whether load balancers may use the node. The dataplane itself is well all
// the while, and /livez 200.
func (c *cluster) awaitHealth(what string, eligible bool) {
	c.t.Helper()
	want := map[bool]int{true: 200, false: 503}[eligible]
	c.await(func() error {
		status, text, err := c.proxier.Get("http://127.0.0.1:10256/healthz")
		if err != nil {
			return err
		}
		var body struct {
			NodeEligible *bool
			Healthy      bool
			Status       map[string]struct{ Healthy bool }
		}
		if err := json.Unmarshal([]byte(text), &body); err != nil {
			return fmt.Errorf("/healthz: %w: %s", err, text)
		}
		if status != want || body.NodeEligible == nil || *body.NodeEligible != eligible || !body.Healthy ||
			!body.Status["IPv4"].Healthy || !body.Status["IPv6"].Healthy {
			return fmt.Errorf("%s: /healthz is %d %s, want %d", what, status, text, want)
		}
		return nil
	})
	status, text, err := c.proxier.Get("http://127.0.0.1:10256/livez")
	if err != nil || status != 200 || strings.Contains(text, "nodeEligible") {
		c.t.Errorf("%s: /livez is %d %s, %v; want 200 without nodeEligible", what, status, text, err)
	}
}

// healthCheck asks on a health check node port, in both families, from outside.
func (c *cluster) healthCheck(port uint16) error {
	var errs []error
	for _, addr := range []string{at(c.Node1.IPv4, port).String(), at(c.Node1.IPv6, port).String()} {
		status, body, err := harness.Get(c.Outside, "http://"+addr+"/")
		if err != nil || status != 200 || !strings.Contains(body, `"serviceProxyHealthy":true`) {
			errs = append(errs, fmt.Errorf("%s: %d %s: %w", addr, status, body, err))
		}
	}
	return errors.Join(errs...)
}

// awaitEvent waits for an Event about the Service with the reason, whose note holds the words.
func (c *cluster) awaitEvent(client kubernetes.Interface, s *v1.Service, reason, words string) {
	c.t.Helper()
	c.awaitEventOn(client, s.Namespace, "Service", s.UID, reason, words)
}

func (c *cluster) awaitEventOn(
	client kubernetes.Interface, namespace, kind string, uid types.UID, reason, words string,
) {
	c.t.Helper()
	c.await(func() error {
		all, err := client.EventsV1().Events(namespace).List(c.t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		var seen []string
		for _, e := range all.Items {
			if e.Regarding.Kind == kind && e.Regarding.UID == uid && e.Reason == reason && strings.Contains(e.Note, words) {
				return nil
			}
			seen = append(seen, fmt.Sprintf("%s %s: %s", e.Regarding.Name, e.Reason, e.Note))
		}
		return fmt.Errorf("no Event %s of %s %s with %q among %q", reason, kind, uid, words, seen)
	})
}
