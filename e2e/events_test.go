//go:build e2e

package e2e

import (
	"fmt"
	"maps"
	"net"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// readyNode makes a Node that is ready.
func (c *cluster) readyNode(client kubernetes.Interface, name string) {
	c.t.Helper()
	node, err := client.CoreV1().Nodes().Create(c.t.Context(), &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}},
		metav1.CreateOptions{})
	c.must(err)
	c.becomeReady(client, node)
}

func (c *cluster) becomeReady(client kubernetes.Interface, node *v1.Node) {
	c.t.Helper()
	node.Status.Conditions = []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionTrue}}
	_, err := client.CoreV1().Nodes().UpdateStatus(c.t.Context(), node, metav1.UpdateOptions{})
	c.must(err)
}

// serviceEvents returns the Events about the Service that have the reason.
func (c *cluster) serviceEvents(client kubernetes.Interface, s *v1.Service, reason string) (found []eventsv1.Event) {
	c.t.Helper()
	all, err := client.EventsV1().Events(s.Namespace).List(c.t.Context(), metav1.ListOptions{})
	c.must(err)
	for _, e := range all.Items {
		if e.Regarding.UID == s.UID && e.Reason == reason {
			found = append(found, e)
		}
	}
	return found
}

// TestEventsOfTwoNodes: two proxiers see a Service with an invalid annotation, and both report it to the API server. It
// has one Event, and one more when the Problem is resolved. What is of a node each reports for itself.
func TestEventsOfTwoNodes(t *testing.T) {
	c := newCluster(t)
	ctx := t.Context()
	kubeconfig, client, _ := c.startAPIServer(c.Node1)
	const port = 30090
	var proxiers []*harness.Proxier
	for _, node := range []*topology.Host{c.Node1, c.Node2} {
		c.readyNode(client, node.Name)
		var taken net.Listener
		c.must(node.Do(func() (err error) { taken, err = net.Listen("tcp", fmt.Sprint(":", port)); return err }))
		t.Cleanup(func() { taken.Close() })
	}
	for _, node := range []*topology.Host{c.Node1, c.Node2} {
		p, err := programs.StartProxier(node, "--kubeconfig", kubeconfig, "--api-servers",
			"https://"+at(c.Node1.IPv4, 6443).String())
		c.must(err)
		t.Cleanup(func() {
			p.Kill()
			if t.Failed() {
				t.Logf("log of the proxier of %s:\n%s", node.Name, p.Output())
			}
		})
		c.must(p.AwaitReady())
		proxiers = append(proxiers, p)
	}
	// await waits until so many Events were created, and so many more refused because they exist.
	await := func(created, exist float64) {
		t.Helper()
		c.must(harness.Await(time.Minute, func() error {
			seen := map[string]float64{}
			for _, result := range []string{"created", "exists", "failed", "dropped"} {
				for _, p := range proxiers {
					n, err := p.Metric(`ipvs_proxier_events_total\{result="` + result + `"\}`)
					if err != nil {
						return err
					}
					seen[result] += n
				}
			}
			if want := map[string]float64{
				"created": created, "exists": exist, "failed": 0, "dropped": 0,
			}; !maps.Equal(seen, want) {
				return fmt.Errorf("%v, want %v", seen, want)
			}
			return nil
		}))
	}
	await(2, 0) // Starting
	dual := v1.IPFamilyPolicyRequireDualStack
	s := web(scheduled("fastest"), func(s *v1.Service) { s.Spec.IPFamilyPolicy = &dual })
	s, err := client.CoreV1().Services("default").Create(ctx, s, metav1.CreateOptions{})
	c.must(err)
	await(3, 1)
	if found := c.serviceEvents(client, s, "InvalidAnnotation"); len(found) != 1 ||
		!strings.Contains(found[0].Note, "fastest") {
		t.Errorf("%d Events, want one of the annotation: %+v", len(found), found)
	}
	for _, p := range proxiers {
		if n, err := p.Metric(
			`ipvs_proxier_problems\{namespace="default",reason="InvalidAnnotation",service="web"\}`,
		); err != nil || n != 1 {
			t.Errorf("the metric of the Problem is %v, %v", n, err)
		}
	}
	s.Annotations["ipvs-proxier.io/scheduler"] = "lc"
	s, err = client.CoreV1().Services("default").Update(ctx, s, metav1.UpdateOptions{})
	c.must(err)
	await(4, 2)
	if found := c.serviceEvents(client, s, "Recovered"); len(found) != 1 {
		t.Errorf("%d Events, want one Recovered: %+v", len(found), found)
	}

	s.Spec.Type, s.Spec.Ports[0].NodePort = v1.ServiceTypeNodePort, port
	s, err = client.CoreV1().Services("default").Update(ctx, s, metav1.UpdateOptions{})
	c.must(err)
	for _, node := range []*topology.Host{c.Node1, c.Node2} {
		c.awaitEvent(client, s, "PortInUse", "node "+node.Name+": ")
	}
	for _, e := range c.serviceEvents(client, s, "PortInUse") {
		if !strings.HasPrefix(e.Note, "node "+e.ReportingInstance+": ") {
			t.Errorf("%s says %q", e.ReportingInstance, e.Note)
		}
	}
}
