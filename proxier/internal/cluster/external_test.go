package cluster_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/annotation"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// TestExternalFields: the addresses from outside, the policies and the source ranges, as they are carried out.
func TestExternalFields(t *testing.T) {
	internal := func(policy v1.ServiceInternalTrafficPolicy) func(*v1.Service) {
		return func(s *v1.Service) { s.Spec.InternalTrafficPolicy = &policy }
	}
	external := func(addrs ...string) func(*v1.Service) {
		return func(s *v1.Service) { s.Spec.ExternalIPs = addrs }
	}
	ingress := func(all ...v1.LoadBalancerIngress) func(*v1.Service) {
		return func(s *v1.Service) { s.Status.LoadBalancer.Ingress = all }
	}
	ip := func(addr string) v1.LoadBalancerIngress { return v1.LoadBalancerIngress{IP: addr} }
	mode := func(addr string, mode v1.LoadBalancerIPMode) v1.LoadBalancerIngress {
		return v1.LoadBalancerIngress{IP: addr, IPMode: &mode}
	}
	ranges := func(lb string, texts ...string) func(*v1.Service) {
		return func(s *v1.Service) {
			s.Spec.LoadBalancerSourceRanges = texts
			s.Status.LoadBalancer.Ingress = []v1.LoadBalancerIngress{ip(lb)}
		}
	}
	check := func(kind v1.ServiceType, policy v1.ServiceExternalTrafficPolicy, port int32) func(*v1.Service) {
		return func(s *v1.Service) {
			s.Spec.Type, s.Spec.ExternalTrafficPolicy, s.Spec.HealthCheckNodePort = kind, policy, port
		}
	}
	for name, c := range map[string]struct {
		change   func(*v1.Service)
		want     string // external IPs, load balancer IPs, internal and external Local, restricted, health check
		problems []string
	}{
		"nothing":                   {func(*v1.Service) {}, "[] [] false false false 0", nil},
		"allowed external IP":       {external("203.0.113.7"), "[203.0.113.7] [] false false false 0", nil},
		"external IP not allowed":   {external("198.51.100.1", "203.0.113.7"), "[203.0.113.7] [] false false false 0", []string{"ExternalIPNotAllowed spec.externalIPs[0] 198.51.100.1 --external-ip-cidrs 203.0.113.0/24"}},
		"external IP is no address": {external("one", "127.0.0.1", "169.254.1.1"), "[] [] false false false 0", []string{"ExternalIPNotAllowed spec.externalIPs[2] 169.254.1.1", "InvalidField spec.externalIPs[0] one no IP address", "spec.externalIPs[1] 127.0.0.1 loopback"}},
		"load balancer, link-local": {ingress(ip("169.254.1.1")), "[] [169.254.1.1] false false false 0", nil},
		"load balancer, twice":      {ingress(ip("192.0.2.1"), ip("192.0.2.1")), "[] [192.0.2.1] false false false 0", nil},
		"external IP, twice":        {external("203.0.113.7", "203.0.113.7"), "[203.0.113.7] [] false false false 0", nil},
		"what no Service can have": {
			ingress(ip("255.255.255.255"), ip("224.0.1.1"), ip("127.0.0.1"), ip("0.0.0.0"), ip("fe80::1"), ip("ff0e::1"),
				ip("::1"), ip("::"), ip("::ffff:192.0.2.1"), ip("fe80::1%eth0"), ip("192.0.2.01"), ip(" 192.0.2.1")),
			"[] [] false false false 0",
			[]string{
				"InvalidField ingress[0].ip 255.255.255.255 the broadcast address", "ingress[10].ip 192.0.2.01 no IP address",
				"ingress[11].ip no IP address",
				"ingress[1].ip 224.0.1.1 multicast", "ingress[2].ip 127.0.0.1 loopback", "ingress[3].ip 0.0.0.0 unspecified",
				"ingress[4].ip fe80::1 link-local",
				"ingress[5].ip ff0e::1 multicast", "ingress[6].ip ::1 loopback", "ingress[7].ip :: unspecified",
				"ingress[8].ip ::ffff:192.0.2.1 written as", "ingress[9].ip fe80::1%eth0 zone",
			},
		},
		"PreferClose, its class and doubles of ranges": {
			func(s *v1.Service) {
				near, class := v1.ServiceTrafficDistributionPreferClose, "example.org/any"
				s.Spec.TrafficDistribution, s.Spec.LoadBalancerClass, s.Spec.Type = &near, &class, v1.ServiceTypeClusterIP
				s.Spec.LoadBalancerSourceRanges = []string{"10.0.0.0/8", "10.0.0.0/8 ", "10.9.9.9/8"}
			},
			"[] [] false false true 0", nil,
		},
		"row 89: other family":              {external("fd00:203::1"), "[] [] false false false 0", nil},
		"load balancer":                     {ingress(ip("192.0.2.1"), ip("192.0.2.2")), "[] [192.0.2.1 192.0.2.2] false false false 0", nil},
		"ipMode VIP":                        {ingress(mode("192.0.2.1", v1.LoadBalancerIPModeVIP)), "[] [192.0.2.1] false false false 0", nil},
		"row 73: ipMode Proxy":              {ingress(mode("192.0.2.1", v1.LoadBalancerIPModeProxy)), "[] [] false false false 0", nil},
		"row 76: host name only":            {ingress(v1.LoadBalancerIngress{Hostname: "lb.example"}), "[] [] false false false 0", nil},
		"a load balancer's mistake":         {ingress(ip("224.0.0.1")), "[] [] false false false 0", []string{"InvalidField status.loadBalancer.ingress[0].ip 224.0.0.1"}},
		"internal Local":                    {internal(v1.ServiceInternalTrafficPolicyLocal), "[] [] true false false 0", nil},
		"internal Cluster":                  {internal(v1.ServiceInternalTrafficPolicyCluster), "[] [] false false false 0", nil},
		"ranges":                            {ranges("192.0.2.1", "10.0.0.0/8", " 10.1.2.3/32 "), "[] [192.0.2.1] false false true 0", nil},
		"row 83: the whole family":          {ranges("192.0.2.1", "10.0.0.0/8", "0.0.0.0/0"), "[] [192.0.2.1] false false false 0", nil},
		"row 85: the other family":          {ranges("192.0.2.1", "fd00::/8"), "[] [192.0.2.1] false false false 0", []string{"SourceRangesOpen spec.loadBalancerSourceRanges ipv4 open"}},
		"a range that is none":              {ranges("192.0.2.1", "10.0.0.1"), "[] [192.0.2.1] false false true 0", []string{"InvalidField spec.loadBalancerSourceRanges[0] 10.0.0.1 nobody"}},
		"a mistake beside the other family": {ranges("192.0.2.1", "ten", "fd00::/8"), "[] [192.0.2.1] false false true 0", []string{"spec.loadBalancerSourceRanges[0]"}},
		"health check":                      {check(v1.ServiceTypeLoadBalancer, v1.ServiceExternalTrafficPolicyLocal, 32000), "[] [] false true false 32000", nil},
		"health check, Cluster":             {check(v1.ServiceTypeLoadBalancer, v1.ServiceExternalTrafficPolicyCluster, 32000), "[] [] false false false 0", nil},
		"health check, NodePort":            {check(v1.ServiceTypeNodePort, v1.ServiceExternalTrafficPolicyLocal, 32000), "[] [] false true false 0", nil},
		"health check out of range":         {check(v1.ServiceTypeLoadBalancer, v1.ServiceExternalTrafficPolicyLocal, 70000), "[] [] false true false 0", []string{"spec.healthCheckNodePort 70000 65535"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := cluster.Parse(cluster.Input{
				Service: shopService(c.change), NodeName: "n1",
				ExternalIPCIDRs: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("fd00:203::/64")},
			})
			text := fmt.Sprintln(got.ExternalIPs, got.LoadBalancerIPs, got.InternalLocal, got.ExternalLocal,
				got.Restricted(cluster.IPv4), got.HealthCheckNodePort)
			if text != c.want+"\n" {
				t.Errorf("%swant %s", text, c.want)
			}
			wantProblems(t, got.Problems.Reported(), c.problems...)
		})
	}
}

// TestNoExternalIPsWithoutAPermit: the allow-list is empty by default, and the Problem says how to fill it.
func TestNoExternalIPsWithoutAPermit(t *testing.T) {
	got := cluster.Parse(cluster.Input{
		Service: shopService(func(s *v1.Service) { s.Spec.ExternalIPs = []string{"203.0.113.7"} }),
	})
	if len(got.ExternalIPs) != 0 {
		t.Errorf("served: %v", got.ExternalIPs)
	}
	wantProblems(t, got.Problems.Reported(),
		"ExternalIPNotAllowed spec.externalIPs[0] 203.0.113.7 --external-ip-cidrs none are allowed")
}

// TestDrainTimeout is the Service's own, or the configuration's.
func TestDrainTimeout(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": time.Hour, "0s": 0, " 90s ": 90 * time.Second, "-1s": time.Hour, "ten": time.Hour, "5": time.Hour,
	} {
		got := cluster.Parse(cluster.Input{Operator: cluster.Operator{
			Global: map[string]string{annotation.DrainTimeout: "1h0m0s"},
		}, Service: shopService(func(s *v1.Service) {
			if text != "" {
				s.Annotations = map[string]string{"ipvs-proxier.io/drain-timeout": text}
			}
		})})
		if got.Ports[0].DrainTimeout != want {
			t.Errorf("%q: %s, want %s", text, got.Ports[0].DrainTimeout, want)
		}
		if invalid := want == time.Hour && text != ""; invalid {
			wantProblems(t, got.Problems.Reported(),
				fmt.Sprintf("InvalidAnnotation metadata.annotations[ipvs-proxier.io/drain-timeout] %q 1h0m0s", text))
		} else {
			wantProblems(t, got.Problems.Reported())
		}
	}
}

// TestHints: an endpoint is for clients of the nodes and zones that its hints name.
func TestHints(t *testing.T) {
	zones := func(names ...string) (hints []discovery.ForZone) {
		for _, name := range names {
			hints = append(hints, discovery.ForZone{Name: name})
		}
		return hints
	}
	nodes := func(names ...string) (hints []discovery.ForNode) {
		for _, name := range names {
			hints = append(hints, discovery.ForNode{Name: name})
		}
		return hints
	}
	for name, c := range map[string]struct {
		hints      *discovery.EndpointHints
		zone       string
		node, want cluster.Hint
	}{
		"none":                 {nil, "z1", cluster.NoHint, cluster.NoHint},
		"empty":                {&discovery.EndpointHints{}, "z1", cluster.NoHint, cluster.NoHint},
		"this zone":            {&discovery.EndpointHints{ForZones: zones("z2", "z1")}, "z1", cluster.NoHint, cluster.HintHere},
		"another zone":         {&discovery.EndpointHints{ForZones: zones("z2")}, "z1", cluster.NoHint, cluster.HintElsewhere},
		"the node has no zone": {&discovery.EndpointHints{ForZones: zones("")}, "", cluster.NoHint, cluster.HintElsewhere},
		"this node":            {&discovery.EndpointHints{ForNodes: nodes("n1", "n2")}, "", cluster.HintHere, cluster.NoHint},
		"another node":         {&discovery.EndpointHints{ForNodes: nodes("n2"), ForZones: zones("z1")}, "z1", cluster.HintElsewhere, cluster.HintHere},
	} {
		slice := httpSlice("a", discovery.AddressTypeIPv4, "http", 8080,
			endpoint("10.244.0.1", func(e *discovery.Endpoint) { e.Hints = c.hints }))
		got := cluster.Parse(cluster.Input{
			Service: shopService(func(*v1.Service) {}), Slices: []*discovery.EndpointSlice{slice}, NodeName: "n1", Zone: c.zone,
		}).Ports[0].Endpoints
		if len(got) != 1 || got[0].NodeHint != c.node || got[0].ZoneHint != c.want {
			t.Errorf("%s: %+v, want node %d, zone %d", name, got, c.node, c.want)
		}
	}
}
