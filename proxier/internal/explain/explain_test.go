package explain_test

import (
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/explain"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/iptables"
)

// config is that of a node whose pods have 10.244.0.0/16.
func config(change ...func(*dataplane.Config)) dataplane.Config {
	c := dataplane.Config{
		Families: []cluster.Family{cluster.IPv4}, MasqueradeMark: 1 << 14, Link: dataplane.DefaultLink,
		Pods:  dataplane.Pods{CIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}},
		Facts: dataplane.Facts{KernelMajor: 6, KernelMinor: 12, RandomFully: true, IPVSMatch: true},
	}
	for _, f := range change {
		f(&c)
	}
	return c
}

// node has the addresses 192.168.50.1 and 10.244.1.1.
var node = dataplane.Node{
	Name: "n1", Addresses: []netip.Addr{netip.MustParseAddr("10.244.1.1"), netip.MustParseAddr("192.168.50.1")},
}

// kernel is what the node's kernel holds for one Service: 10.96.0.1:80, node port 30080, load balancer 203.0.113.1. Its
// endpoints are 10.244.1.10, which is here, and 10.244.2.10.
func kernel(t *testing.T, c dataplane.Config, change ...func(*v1.Service)) dataplane.Observation {
	t.Helper()
	s := &v1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "u1", Annotations: map[string]string{}},
		Spec: v1.ServiceSpec{
			Type: v1.ServiceTypeLoadBalancer, ClusterIP: "10.96.0.1", ClusterIPs: []string{"10.96.0.1"},
			Ports: []v1.ServicePort{{Protocol: v1.ProtocolTCP, Port: 80, TargetPort: intstr.FromInt32(8080), NodePort: 30080}},
		},
		Status: v1.ServiceStatus{LoadBalancer: v1.LoadBalancerStatus{Ingress: []v1.LoadBalancerIngress{{IP: "203.0.113.1"}}}},
	}
	for _, f := range change {
		f(s)
	}
	slice := &discovery.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "web-1", Labels: map[string]string{discovery.LabelServiceName: "web"},
		},
		AddressType: discovery.AddressTypeIPv4,
		Ports:       []discovery.EndpointPort{{Port: new(int32(8080)), Name: new(""), Protocol: new(v1.ProtocolTCP)}},
	}
	for on, addr := range map[string]string{"n1": "10.244.1.10", "n2": "10.244.2.10"} {
		if on == "n1" && s.Labels["elsewhere"] != "" {
			continue
		}
		slice.Endpoints = append(slice.Endpoints, discovery.Endpoint{
			Addresses: []string{addr}, NodeName: new(on), Conditions: discovery.EndpointConditions{Ready: new(true)},
		})
	}
	parsed := cluster.Parse(cluster.Input{Service: s, Slices: []*discovery.EndpointSlice{slice}, NodeName: "n1"})
	want := dataplane.NewWant(dataplane.Foundation(c))
	want.Set(dataplane.Compile(parsed, node, c), map[cluster.Name]struct{}{})
	return dataplane.Observation{
		State: want.State, NodeAddresses: node.Addresses, Foreign: map[dataplane.VirtualServerID]dataplane.VirtualServer{},
	}
}

func local(s *v1.Service)     { s.Spec.ExternalTrafficPolicy = v1.ServiceExternalTrafficPolicyLocal }
func elsewhere(s *v1.Service) { s.Labels = map[string]string{"elsewhere": "1"} }
func ranges(s *v1.Service)    { s.Spec.LoadBalancerSourceRanges = []string{"198.51.100.0/24"} }
func byPort(s *v1.Service)    { s.Annotations["ipvs-proxier.io/scheduler-flags"] = "port" }
func scheduled(by string) func(*v1.Service) {
	return func(s *v1.Service) { s.Annotations["ipvs-proxier.io/scheduler"] = by }
}

// packet reads "CLIENT -> ADDRESS:PORT" and perhaps " by LINK".
func packet(text string) explain.Packet {
	text, link, _ := strings.Cut(text, " by ")
	from, to, _ := strings.Cut(text, " -> ")
	p := explain.Packet{Protocol: cluster.TCP, To: netip.MustParseAddrPort(to), Link: link}
	if at, err := netip.ParseAddrPort(from); err == nil {
		p.From = at
	} else if p.FromNode = from == "node"; !p.FromNode {
		p.From = netip.AddrPortFrom(netip.MustParseAddr(from), 0)
	}
	return p
}

// text says everything but the rules: the outcome, each step, each candidate, what the client sees.
func text(e explain.Explanation) string {
	lines := []string{string(e.Outcome)}
	for _, s := range e.Steps {
		lines = append(lines, s.Hook+": "+s.Text)
	}
	for _, c := range e.Candidates {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s weight %d masquerade %v chosen %v %s",
			c.Address, c.Weight, c.Masquerade, c.Chosen, c.Excluded)))
	}
	return strings.Join(append(lines, e.Client), "\n")
}

// TestExplain: each way in says what decides there. End to end the same is compared with real packets.
func TestExplain(t *testing.T) {
	bridge := func(c *dataplane.Config) { c.Pods = dataplane.Pods{Bridge: "cbr0"} }
	for _, c := range []struct {
		name, packet string
		config       []func(*dataplane.Config)
		service      []func(*v1.Service)
		change       func(*dataplane.Observation)
		want, not    string // words, by commas
	}{
		{name: "a pod keeps its address", packet: "10.244.2.7 -> 10.96.0.1:80", want: "served,client is a pod,not masqueraded,rr chooses among 2,10.244.1.10:8080 weight 1 masquerade false"},
		{name: "a pod reaches itself", packet: "10.244.1.10 -> 10.96.0.1:80", want: "served,10.244.1.10:8080 weight 1 masquerade true,10.244.2.10:8080 weight 1 masquerade false,1 of 2"},
		{name: "a client outside", packet: "192.168.50.9 -> 10.96.0.1:80", want: "served,client is no pod,masqueraded: the endpoint sees this node"},
		{name: "the node", packet: "node -> 10.96.0.1:80", want: "served,source 10.96.0.1,the client is this node,masquerade true"},
		{name: "the node by a route", packet: "node -> 10.96.0.1:80", want: "source 192.168.50.1: the preferred source",
			change: func(o *dataplane.Observation) {
				o.State.Routes[netip.MustParseAddr("10.96.0.1")] = netip.MustParseAddr("192.168.50.1")
			}},
		{name: "a node port", packet: "192.168.50.9 -> 192.168.50.1:30080", want: "served,node port with the policy Cluster,masquerade true"},
		{name: "policy Local", packet: "192.168.50.9 -> 203.0.113.1:80", service: []func(*v1.Service){local}, want: "served,externalTrafficPolicy is Local: the client keeps its address,10.244.1.10:8080 is the only one", not: "10.244.2.10"},
		{name: "policy Local without an endpoint here", packet: "192.168.50.9 -> 203.0.113.1:80", service: []func(*v1.Service){local, elsewhere}, want: "dropped,no endpoint is on this node"},
		{name: "the same from a pod", packet: "10.244.1.7 -> 203.0.113.1:80", service: []func(*v1.Service){local, elsewhere}, want: "served,10.244.2.10:8080"},
		{name: "in the source ranges", packet: "198.51.100.7 -> 203.0.113.1:80", service: []func(*v1.Service){ranges}, want: "served"},
		{name: "outside of the source ranges", packet: "192.0.2.7 -> 203.0.113.1:80", service: []func(*v1.Service){ranges}, want: "dropped,192.0.2.7 is not in the source ranges of tcp 203.0.113.1:80"},
		{name: "source ranges and the node", packet: "node -> 203.0.113.1:80", service: []func(*v1.Service){ranges}, want: "dropped,mangle OUTPUT: dropped,is not in the source ranges"},
		{name: "source ranges leave the node port open", packet: "192.0.2.7 -> 192.168.50.1:30080", service: []func(*v1.Service){ranges}, want: "served"},
		{name: "another port of a service address", packet: "10.244.1.7 -> 10.96.0.1:81", want: "rejected,no Service has this port"},
		{name: "another port from the node", packet: "node -> 10.96.0.1:81", want: "rejected,no Service has this port"},
		{name: "another port of the node", packet: "10.244.1.7 -> 192.168.50.1:22", want: "no front end,nothing of ours drops it,what listens on the node"},
		{name: "elsewhere", packet: "10.244.1.7 -> 8.8.8.8:53", want: "no front end,is no address of this node"},
		{name: "no endpoints", packet: "10.244.1.7 -> 10.96.0.1:80", want: "refused,it has no real server",
			change: func(o *dataplane.Observation) {
				edit(o, func(v *dataplane.VirtualServer) { v.RealServers = nil })
			}},
		{name: "all drain", packet: "10.244.1.7 -> 10.96.0.1:80",
			want: "refused,none of its real servers takes new connections,weight 0: it drains",
			change: func(o *dataplane.Observation) {
				edit(o, func(v *dataplane.VirtualServer) { weigh(v, 0) })
			}},
		{name: "a ceiling", packet: "10.244.1.7 -> 10.96.0.1:80",
			want: "served,ceiling of 5 connections,10.244.2.10:8080 is the only one", change: func(o *dataplane.Observation) {
				edit(o, func(v *dataplane.VirtualServer) {
					weigh(v, 1)
					for i := range v.RealServers {
						if v.RealServers[i].Addr == netip.MustParseAddr("10.244.1.10") {
							v.RealServers[i].Upper = 5
						}
					}
				})
			}},
		{name: "source hash", packet: "10.244.1.7 -> 10.96.0.1:80", service: []func(*v1.Service){scheduled("sh")}, want: "served,sh leads 10.244.1.7 to 10.244.,chosen true"},
		{name: "Maglev by port without a port", packet: "10.244.1.7 -> 10.96.0.1:80", service: []func(*v1.Service){scheduled("mh"), byPort}, want: "say the port with --from", not: "chosen true"},
		{name: "Maglev by port", packet: "10.244.1.7:40000 -> 10.96.0.1:80", service: []func(*v1.Service){scheduled("mh"), byPort}, want: "mh leads 10.244.1.7 to,chosen true"},
		{name: "affinity", packet: "10.244.1.7 -> 10.96.0.1:80", service: []func(*v1.Service){func(s *v1.Service) { s.Spec.SessionAffinity = v1.ServiceAffinityClientIP }}, want: "within the last 10800 s"},
		{name: "a hold", packet: "10.244.1.7 -> 10.96.0.1:80", want: "dropped,is being exchanged",
			change: func(o *dataplane.Observation) {
				for e := range o.State.Entries.All() {
					if e.Set == dataplane.SetFrontEnd && e.Entry.Port == 80 {
						e.Set = dataplane.SetHold
						o.State.Entries.Put(e)
					}
				}
			}},
		{name: "pods by a bridge", packet: "10.244.1.7 -> 10.96.0.1:80 by cbr0", config: []func(*dataplane.Config){bridge}, want: "served,not marked for masquerading"},
		{name: "others than by the bridge", packet: "10.244.1.7 -> 10.96.0.1:80 by eth0", config: []func(*dataplane.Config){bridge}, want: "served,marked for masquerading: the client is no pod"},
		{name: "by nobody knows what", packet: "10.244.1.7 -> 10.96.0.1:80", config: []func(*dataplane.Config){bridge}, want: "unknown,--interface"},
		{name: "a rule of another version", packet: "10.244.1.7 -> 10.96.0.1:80", want: "unknown,written by somebody else",
			change: func(o *dataplane.Observation) {
				for id, chain := range o.State.Chains {
					if id.Name == dataplane.ChainServices {
						chain.Rules = append([]dataplane.Rule{{Unknown: "-m u32 -j ACCEPT"}}, chain.Rules...)
						o.State.Chains[id] = chain
					}
				}
			}},
		{name: "somebody else's DNAT", packet: "10.244.1.7 -> 10.96.0.1:80", want: "captured,takes it before IPVS",
			change: func(o *dataplane.Observation) {
				o.Captures = dataplane.NewCaptures([]dataplane.Capture{{Family: cluster.IPv4, Hook: "PREROUTING",
					Rule: "-d 10.96.0.1/32 -j DNAT",
					To:   dataplane.Destination{{Network: netip.MustParsePrefix("10.96.0.1/32")}}}})
			}},
		{name: "somebody else's virtual server", packet: "10.244.1.7 -> 192.168.50.1:6443", want: "served,somebody else's",
			change: func(o *dataplane.Observation) {
				o.Foreign[dataplane.VirtualServerID{Addr: netip.MustParseAddr("192.168.50.1"), Port: 6443, Protocol: cluster.TCP}] =
					dataplane.VirtualServer{Scheduler: "rr", RealServers: []dataplane.RealServer{
						{Addr: netip.MustParseAddr("192.168.50.2"), Port: 6443, Weight: 1},
					}}
			}},
		{name: "without our rules", packet: "192.168.50.9 -> 10.96.0.1:80", want: "served,not masqueraded",
			change: func(o *dataplane.Observation) {
				o.State.Hooks = map[dataplane.Hook]struct{}{}
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			seen := kernel(t, config(c.config...), c.service...)
			if c.change != nil {
				c.change(&seen)
			}
			p := packet(c.packet)
			if err := p.Validate(); err != nil {
				t.Fatal(err)
			}
			said := text(explain.Explain(p, seen, iptables.Words{}, func(dataplane.VirtualServerID) []dataplane.Connections {
				return []dataplane.Connections{{Addr: netip.MustParseAddr("10.244.1.10"), Port: 8080, Active: 3, Inactive: 2}}
			}))
			for want := range strings.SplitSeq(c.want, ",") {
				if !strings.Contains(said, want) {
					t.Errorf("it does not say %q:\n%s", want, said)
				}
			}
			if c.not != "" && strings.Contains(said, c.not) {
				t.Errorf("it says %q:\n%s", c.not, said)
			}
		})
	}
}

// edit changes every virtual server.
func edit(o *dataplane.Observation, change func(*dataplane.VirtualServer)) {
	for id, v := range maps.Clone(o.State.VirtualServers) {
		change(&v)
		o.State.VirtualServers[id] = v
	}
}

// weigh gives all real servers a weight, in a list of their own.
func weigh(v *dataplane.VirtualServer, weight uint32) {
	list := make([]dataplane.RealServer, len(v.RealServers))
	for i, r := range v.RealServers {
		r.Weight = weight
		list[i] = r
	}
	v.RealServers = list
}
