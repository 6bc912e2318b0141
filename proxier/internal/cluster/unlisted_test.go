package cluster_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// TestWhatNoPortGetsIsReported: each endpoint of a slice that no port gets is reported, by the place that leaves it
// out. LeaveOut changes nothing in the result.
func TestWhatNoPortGetsIsReported(t *testing.T) {
	many := make([]discovery.Endpoint, budget.Endpoints+1)
	for i := range many {
		many[i] = endpoint(fmt.Sprintf("10.%d.%d.%d", 1+i>>16, i>>8&255, i&255))
	}
	for name, c := range map[string]struct {
		slice *discovery.EndpointSlice
		want  string // of each "SLICE ADDRESS: WHY", some words of it
	}{
		"all is right":      {httpSlice("s", discovery.AddressTypeIPv4, "http", 8080, endpoint("10.0.0.1")), ""},
		"no address":        {httpSlice("s", discovery.AddressTypeIPv4, "http", 8080, endpoint("10.0.0.1"), endpoint("ten")), `s ten: no IPv4 address`},
		"the other family":  {httpSlice("s", discovery.AddressTypeIPv4, "http", 8080, endpoint("fd00::1")), `s fd00::1: no IPv4 address`},
		"a broadcast":       {httpSlice("s", discovery.AddressTypeIPv4, "http", 8080, endpoint("10.0.0.255")), `s 10.0.0.255: a broadcast address`},
		"another port name": {httpSlice("s", discovery.AddressTypeIPv4, "metrics", 8080, endpoint("10.0.0.1")), `s : of no port of the Service`},
		"FQDN":              {httpSlice("s", discovery.AddressTypeFQDN, "http", 8080, endpoint("web.example")), `s : of address type FQDN`},
		"too many":          {httpSlice("s", discovery.AddressTypeIPv4, "http", 8080, many...), `s : more than one Service may have`},
	} {
		in := cluster.Input{Service: shopService(func(*v1.Service) {}), Slices: []*discovery.EndpointSlice{
			c.slice,
		}, Broadcasts: []netip.Addr{netip.MustParseAddr("10.0.0.255")}}
		quiet := cluster.Parse(in)
		var reported []string
		in.LeaveOut = func(u cluster.Unlisted) { reported = append(reported, u.Slice+" "+u.Address+": "+u.Why) }
		loud := cluster.Parse(in)
		if got := strings.Join(reported, "; "); !strings.HasPrefix(got, c.want) || c.want == "" && got != "" ||
			len(reported) > 1 {
			t.Errorf("%s: reported is %q, want %q", name, got, c.want)
		}
		if a, b := text(quiet.Ports[0].Endpoints), text(loud.Ports[0].Endpoints); a != b {
			t.Errorf("%s: the endpoints are %q where somebody hears of the others, else %q", name, b, a)
		}
	}
}

// TestWeightsSayWhoseTheyAre: the object that gives the weight, the nearest first.
func TestWeightsSayWhoseTheyAre(t *testing.T) {
	node := func(name string) (uint32, bool) { return 5, name == "n5" }
	for name, c := range map[string]struct {
		service, slice, node string
		want                 cluster.WeightOf
		weight               uint32
	}{
		"nobody":           {"", "", "n1", cluster.WeightOfNone, 1},
		"the Node":         {"", "", "n5", cluster.WeightOfNode, 5},
		"the Service":      {"*=3", "", "n5", cluster.WeightOfService, 3},
		"the slice":        {"*=3", "2", "n5", cluster.WeightOfSlice, 2},
		"another endpoint": {"node=n9:3", "", "n1", cluster.WeightOfNone, 1},
	} {
		slice := httpSlice("s", discovery.AddressTypeIPv4, "http", 8080, endpoint("10.0.0.1", on(c.node)))
		if c.slice != "" {
			slice.Annotations = map[string]string{"ipvs-proxier.io/weight": c.slice}
		}
		s := shopService(func(s *v1.Service) {
			if c.service != "" {
				s.Annotations = map[string]string{"ipvs-proxier.io/weight": c.service}
			}
		})
		got := cluster.Parse(cluster.Input{
			Service: s, Slices: []*discovery.EndpointSlice{slice}, NodeWeight: node,
		}).Ports[0].Endpoints[0]
		if got.WeightOf != c.want || got.Weight != c.weight {
			t.Errorf("%s: weight %d of %q, want %d of %q", name, got.Weight, got.WeightOf, c.weight, c.want)
		}
	}
}

// TestWhatIsNotProxiedSaysWhy: in words that an operator can act on.
func TestWhatIsNotProxiedSaysWhy(t *testing.T) {
	for want, c := range map[string]struct {
		change func(*v1.Service)
		us     string
	}{
		"it is headless":        {func(s *v1.Service) { s.Spec.ClusterIP = v1.ClusterIPNone }, ""},
		"it has no cluster IP":  {func(s *v1.Service) { s.Spec.ClusterIP = "" }, ""},
		"it is an ExternalName": {func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeExternalName }, ""},
		"names another proxy":   {func(s *v1.Service) { s.Labels = map[string]string{cluster.ProxyNameLabel: "other"} }, "us"},
		"label " + cluster.ProxyNameLabel + " names another proxy": {func(s *v1.Service) { s.Labels = map[string]string{cluster.ProxyNameLabel: ""} }, ""},
		"it lacks the label": {func(*v1.Service) {}, "us"},
	} {
		if got := cluster.Unproxied(shopService(c.change), c.us); !strings.Contains(got, want) {
			t.Errorf("%q does not say %q", got, want)
		}
	}
}
