package engine

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// TestClaimsAreToldInOneOrder: of more cluster IPs than are reported, every node and every pass reports the same ones.
func TestClaimsAreToldInOneOrder(t *testing.T) {
	var before []cluster.Problem
	for range 5 {
		s := newScenario(t, 0, 0)
		var addresses []v1.NodeAddress
		for i := range 60 {
			addresses = append(addresses, v1.NodeAddress{Type: v1.NodeExternalIP, Address: fmt.Sprintf("10.96.0.%d", i)})
		}
		s.objects.nodes["n2"] = &v1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: "n2"}, Status: v1.NodeStatus{Addresses: addresses},
		}
		s.objects.version++
		s.converge(s.apply([]byte(manyServices(60))), false)
		if len(s.node) < 2 || len(s.node) >= 60 {
			t.Fatalf("%d Problems are reported of 60", len(s.node))
		}
		if before != nil && !slices.Equal(before, s.node) {
			t.Fatalf("reported before:\n%v\nreported now:\n%v", before, s.node)
		}
		before = s.node
	}
}

// TestServersWithoutPorts: an endpoint of default/kubernetes is an API server's address, whether its slice names ports
// or not.
func TestServersWithoutPorts(t *testing.T) {
	s := newScenario(t, 0, 0)
	slice := &discovery.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1.NamespaceDefault, Name: "kubernetes", Labels: map[string]string{
			discovery.LabelServiceName: "kubernetes",
		}},
		Endpoints: []discovery.Endpoint{{Addresses: []string{"203.0.113.7"}}},
	}
	s.objects.slices[nameOf(slice)] = slice
	if _, is := s.engine.apiServers(nil)[netip.MustParseAddr("203.0.113.7")]; !is {
		t.Error("the endpoint is not taken for an API server")
	}
}
