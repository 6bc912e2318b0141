//go:build e2e

package e2e

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// trafficCase is one Service and what its clients must get. Rows are those of the behaviour that users of kube-proxy
// know.
type trafficCase struct {
	rows, name string
	change     []func(*v1.Service)
	// endpoints are names of pods, "p1 p2 r" (r is on node2; "host" is node1 itself), each with its state where it is
	// not just ready: "p1(dead)" neither serves nor is ready, "p1(leaving)" terminates and serves, "p1(zone=a)" has a
	// hint, "p1(node=node1)" too. After "|" they stand in further slices, and "ports(NAME)" gives the ports of the
	// slices another name than the Service's.
	endpoints string
	// cells are lines "CLIENT... -> TARGET...: OUTCOME". Where kube-proxy is known to differ, " [kube-proxy: OUTCOME;
	// WHERE]" follows, WHERE being the case in docs/differences.md. A client is a host or pod. A target is "cip", "np"
	// or "vip", each with ":PORT" for another port, "lo" for the node port on a loopback address, or "gw" for it on
	// node1's address on the pod network. Targets that end in "/tcp", "/udp", "/4" or "/6" are tried by that protocol
	// or in that family alone. The outcome is "refused", "timeout", or all the answers that come in turns: "p1 gw, r
	// own" says which endpoint answers, and whose address it saw. That is the client's own, node1's on the pod network
	// (gw) or on the LAN (node), or the Service's (vip). "p1 gw | r own" is one of the two, always the same one.
	cells string
}

const (
	podClients = "p1 gw, p2 own, r own" // what p1 gets by ClusterIP
	masqAll    = "p1 gw, p2 gw, r node" // everybody, masqueraded
)

// trafficCases are all cases. Numbers of addresses and node ports follow from their order.
func trafficCases(n, x, p2 *topology.Host) []trafficCase {
	proxied := func(s *v1.Service) {
		mode := v1.LoadBalancerIPModeProxy
		for i := range s.Status.LoadBalancer.Ingress {
			s.Status.LoadBalancer.Ingress[i].IPMode = &mode
		}
	}
	byName := func(s *v1.Service) {
		s.Status.LoadBalancer.Ingress = []v1.LoadBalancerIngress{{Hostname: "lb.example"}}
	}
	lb := func(change ...func(*v1.Service)) []func(*v1.Service) {
		return append([]func(*v1.Service){withVIP, withNodePort}, change...)
	}
	vipOnly := func(change ...func(*v1.Service)) []func(*v1.Service) {
		return append([]func(*v1.Service){withVIP}, change...)
	}
	np := func(change ...func(*v1.Service)) []func(*v1.Service) {
		return append([]func(*v1.Service){withNodePort}, change...)
	}
	external := func(change ...func(*v1.Service)) []func(*v1.Service) {
		return append([]func(*v1.Service){withExternalIP}, change...)
	}
	ranges4 := func(s *v1.Service) { s.Spec.LoadBalancerSourceRanges = s.Spec.LoadBalancerSourceRanges[:1] }
	everywhere := func(s *v1.Service) { s.Spec.LoadBalancerSourceRanges = []string{"0.0.0.0/0", "::/0"} }
	return []trafficCase{
		{"1, 2, 3, 8, 9", "cip", nil, "p1 p2 r", `
			p1 -> cip: ` + podClients + `
			node1 outside -> cip: ` + masqAll + `
			p1 node1 outside -> cip:81 cip:8080: refused`}, // host listens on 8080
		{"11, 12", "none", np(), "", "p1 outside node1 -> cip np: refused"},
		{"13, 62", "unready", np(), "p1(dead) r(dead)", "p1 outside node1 -> cip np: refused"},
		{"16", "hairpin", lb(), "p1", "p1 -> cip np vip: p1 gw"},
		{"18", "hostnet", np(), "host", "outside -> cip np: host own"},
		{"29, 30, 31, 32, 34", "np", np(), "p1 p2 r", `
			p1 outside node1 node2 denied -> np: ` + masqAll + `
			p1 node1 -> gw: ` + masqAll + `
			node1 -> lo: refused`},
		{"40, 41, 42, 43, 48", "local", lb(externalLocal), "p1 r", `
			outside node2 denied -> np: p1 own
			outside denied -> vip: p1 own
			node1 -> np: p1 gw [kube-proxy: p1 node; row 41]
			node1 -> vip: p1 gw [kube-proxy: p1 vip; row 41]
			p2 -> np vip: p1 own
			p1 -> np vip: p1 gw
			p2 -> cip: p1 own, r own
			outside node1 -> cip: p1 gw, r node`},
		{"44, 46", "remote", lb(externalLocal), "r", `
			outside node2 denied -> np: timeout
			outside node2 denied -> vip: timeout
			node1 -> np: r node
			node1 -> vip: r node [kube-proxy: r vip; row 46]
			p2 -> np vip: r own`},
		{"47", "nobody", lb(externalLocal), "", "outside node1 p2 -> np vip: refused"},
		{"49", "leaving", lb(externalLocal), "p1(leaving) r", `
			outside -> np vip: p1 own
			p2 -> cip: r own`},
		{"53", "inside", []func(*v1.Service){internalLocal}, "p2 r", "node1 outside -> cip: p2 gw\np1 -> cip: p2 own"},
		{"54", "inside-none", []func(*v1.Service){internalLocal}, "r", "node1 p1 outside -> cip: refused"},
		{"55", "inside-np", lb(internalLocal), "r", `
			node1 outside -> cip: refused [kube-proxy: r node; B1]
			p1 -> cip: refused [kube-proxy: r own; B1]
			outside -> np vip: r node`},
		{"60", "mixed", np(), "p1(leaving) p2", "p1 -> cip: p2 own\noutside -> np: p2 gw"},
		{"61", "last", np(), "p1(leaving) p2(dead)", "p2 -> cip: p1 own\noutside -> np: p1 gw"},
		{"63", "zones", np(), "p1(zone=a) r(zone=b)", "p2 -> cip: p1 own\noutside -> np: p1 gw"},
		{"65", "other-zones", nil, "p1(zone=b) r(zone=c)", "p2 -> cip: p1 own, r own"},
		{"66", "nodes", nil, "p1(node=node2,zone=a) r(node=node1,zone=b)", "p2 -> cip: r own"},
		{"71, 72, 30", "lb", lb(), "p1 r", `
			node1 p2 outside node2 -> vip: p1 gw, r node
			node1 p2 outside -> vip:81: refused`},
		{"73", "proxied", lb(proxied), "p1 r", `
			outside -> np: p1 gw, r node
			outside p2 -> vip: timeout`},
		{"75", "no-np", vipOnly(withoutNodePorts), "p1 r", "outside p2 -> vip: p1 gw, r node"},
		{"76", "by-name", lb(byName), "p1", "outside -> np: p1 gw"},
		{"78, 79, 80", "ranges", lb(sourceRanges(x)), "p1 r", `
			outside -> vip: p1 gw, r node [kube-proxy: p1 gw, r node | timeout; B3]
			denied node2 p2 -> vip: timeout
			node1 -> vip/tcp: timeout
			node1 -> vip/udp: refused [kube-proxy: timeout; row 79]
			denied -> np: p1 gw, r node
			p2 -> cip: p1 own, r own`},
		{"81", "ranges-pod", lb(sourceRanges(p2)), "p1 r", `
			p2 -> vip: p1 gw, r node [kube-proxy: p1 gw, r node | timeout; B3]
			p1 outside -> vip: timeout
			node1 -> vip/tcp: timeout
			node1 -> vip/udp: refused [kube-proxy: timeout; row 79]`},
		{"83", "ranges-all", lb(everywhere), "p1 r", "denied -> vip: p1 gw, r node"},
		{"B35", "ranges-node", lb(sourceRanges(n)), "p1 r", `
			node1 -> vip: p1 gw, r node [kube-proxy: p1 gw, r node | timeout; B3]
			outside -> vip: timeout`},
		{"86", "ranges-local", lb(sourceRanges(x), externalLocal), "p1 r", `
			outside -> vip: p1 own [kube-proxy: p1 own | timeout; B3]
			denied p2 -> vip: timeout`},
		{"89", "external", external(), "p1 r", "outside p2 node1 -> vip: p1 gw, r node"},
		{"90", "external-local", external(externalLocal), "p1 r", "outside -> vip: p1 own"},
		{"B6", "same-number", []func(*v1.Service){func(s *v1.Service) {
			for i := range s.Spec.Ports {
				s.Spec.Ports[i].Port = 30105 // the node port of "np"
			}
		}}, "p1", "p2 -> cip:30105: p1 own [kube-proxy: p1 gw; B6]"},
		{"94", "external-none", external(), "", "outside p2 node1 -> vip: refused"},
		{"10, 21", "another-proxys", np(func(s *v1.Service) { s.Labels = map[string]string{"service.kubernetes.io/service-proxy-name": ""} }), "p1", `
			p1 node1 outside -> cip cip:8080: timeout
			p1 node1 outside -> np: refused`},
		{"15", "published", np(func(s *v1.Service) { s.Spec.PublishNotReadyAddresses = true }), "p1", "p2 -> cip: p1 own\noutside -> np: p1 gw"},
		{"24", "two-slices", np(), "p1 | r", "p2 -> cip: p1 own, r own\noutside -> np: p1 gw, r node"},
		{"26", "port-names", np(), "ports(other) p1", "p2 node1 outside -> cip np: refused"},
		{"85", "ranges-4", lb(sourceRanges(x), ranges4), "p1 r", `
			outside -> vip: p1 gw, r node [kube-proxy: p1 gw, r node | timeout; B3]
			denied p2 -> vip/4: timeout
			denied p2 -> vip/6: p1 gw, r node`},
		{"91", "lan", []func(*v1.Service){func(s *v1.Service) { s.Spec.ExternalIPs = []string{"192.168.50.150"} }}, "p1 r",
			"outside node2 denied p2 node1 -> vip/4: p1 gw, r node"},
		{"97", "sticky", np(affinity(600)), "p1 r", `
			p2 -> cip: p1 own | r own
			p2 node1 outside -> np: p1 gw | r node
			node1 outside -> cip: p1 gw | r node`},
		{"101", "sticky-local", lb(externalLocal, affinity(600)), "p1 p2 r", "outside denied -> np vip: p1 own | p2 own"},
	}
}

// The ways in from outside; their numbers are filled in with the case's.
func withVIP(s *v1.Service) {
	s.Spec.Type = v1.ServiceTypeLoadBalancer
	s.Status.LoadBalancer.Ingress = []v1.LoadBalancerIngress{{IP: "4"}, {IP: "6"}}
}

func withExternalIP(s *v1.Service) { s.Spec.ExternalIPs = []string{"4", "6"} }

func withNodePort(s *v1.Service) {
	if s.Spec.Type == v1.ServiceTypeClusterIP {
		s.Spec.Type = v1.ServiceTypeNodePort
	}
	for i := range s.Spec.Ports {
		s.Spec.Ports[i].NodePort = 1
	}
}

func withoutNodePorts(s *v1.Service) {
	no := false
	s.Spec.AllocateLoadBalancerNodePorts = &no
}

// objects are the Service and the slices of the case with this number.
func (tc trafficCase) objects(number int, pods map[string]*topology.Host) (*v1.Service, []*discovery.EndpointSlice) {
	s := service(tc.name, []string{fmt.Sprintf("10.96.2.%d", number+1), fmt.Sprintf("fd00:10:96::2%02x", number+1)},
		tc.change...)
	dual := v1.IPFamilyPolicyRequireDualStack
	s.Spec.IPFamilyPolicy = &dual
	fill := func(text *string) {
		switch *text {
		case "4":
			*text = external4(number + 1)
		case "6":
			*text = external6(number + 1)
		}
	}
	for i := range s.Spec.ExternalIPs {
		fill(&s.Spec.ExternalIPs[i])
	}
	for i := range s.Status.LoadBalancer.Ingress {
		fill(&s.Status.LoadBalancer.Ingress[i].IP)
	}
	for i := range s.Spec.Ports {
		if s.Spec.Ports[i].NodePort != 0 {
			s.Spec.Ports[i].NodePort = int32(30100 + number)
		}
	}
	var before []*discovery.EndpointSlice
	slices := endpointSlices(s)
	for word := range strings.FieldsSeq(tc.endpoints) {
		name, state, _ := strings.Cut(strings.TrimSuffix(word, ")"), "(")
		if name == "|" {
			before, slices = append(before, slices...), endpointSlices(s)
		}
		for _, slice := range slices {
			switch name {
			case "|":
				slice.Name += fmt.Sprint("-", len(before))
			case "ports":
				for i := range slice.Ports {
					slice.Ports[i].Name = new(state + *slice.Ports[i].Name)
				}
			default:
				slice.Endpoints = append(slice.Endpoints, endpointOf(pods[name], slice.AddressType, state))
			}
		}
	}
	return s, append(before, slices...)
}

func endpointOf(pod *topology.Host, family discovery.AddressType, states string) discovery.Endpoint {
	addr, node := pod.IPv4, pod.Node
	if family == discovery.AddressTypeIPv6 {
		addr = pod.IPv6
	}
	if node == "" {
		node = pod.Name
	}
	e := discovery.Endpoint{Addresses: []string{addr.String()}, NodeName: &node, Conditions: discovery.EndpointConditions{
		Ready: new(true), Serving: new(true), Terminating: new(false),
	}}
	for state := range strings.SplitSeq(states, ",") {
		name, value, _ := strings.Cut(state, "=")
		if e.Hints == nil && value != "" {
			e.Hints = &discovery.EndpointHints{}
		}
		switch name {
		case "":
		case "dead":
			e.Conditions.Ready, e.Conditions.Serving = new(false), new(false)
		case "leaving":
			e.Conditions.Ready, e.Conditions.Terminating = new(false), new(true)
		case "zone":
			e.Hints.ForZones = append(e.Hints.ForZones, discovery.ForZone{Name: value})
		case "node":
			e.Hints.ForNodes = append(e.Hints.ForNodes, discovery.ForNode{Name: value})
		default:
			panic("there is no state " + state)
		}
	}
	return e
}

// thisNode is the Node object of the node under test.
func thisNode(h *topology.Host) *v1.Node {
	return &v1.Node{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Node"},
		ObjectMeta: metav1.ObjectMeta{Name: h.Name, Labels: map[string]string{v1.LabelTopologyZone: "a"}},
		Status: v1.NodeStatus{Addresses: []v1.NodeAddress{
			{Type: v1.NodeInternalIP, Address: h.IPv4.String()}, {Type: v1.NodeInternalIP, Address: h.IPv6.String()},
		}},
	}
}

// trafficCell is what one client gets at one target, by one protocol.
type trafficCell struct {
	rows, service, from, target, network string
	to                                   netip.AddrPort
	want                                 string
	// kubeProxy is what kube-proxy is known to give instead, "" for the same; where is the case in docs/differences.md.
	kubeProxy, where string
}

var cellLine = regexp.MustCompile(`^(.+) -> (.+?): (.+?)(?: \[kube-proxy: (.+); (.+)\])?$`)

// expand returns every cell of the case, in both families and by both protocols.
func (tc trafficCase) expand(c *cluster, s *v1.Service) []trafficCell {
	var cells []trafficCell
	for line := range strings.Lines(tc.cells) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		found := cellLine.FindStringSubmatch(line)
		if found == nil {
			panic("not a line of cells: " + line)
		}
		for from := range strings.FieldsSeq(found[1]) {
			for target := range strings.FieldsSeq(found[2]) {
				target, only, _ := strings.Cut(target, "/")
				for _, ip := range s.Spec.ClusterIPs {
					addr := netip.MustParseAddr(ip)
					if only == "4" && addr.Is6() || only == "6" && addr.Is4() {
						continue
					}
					for _, network := range []string{"tcp", "udp"} {
						if (only == "tcp" || only == "udp") && only != network {
							continue
						}
						cells = append(cells,
							trafficCell{tc.rows, tc.name, from, target, network, c.target(s, target, addr), found[3], found[4], found[5]})
					}
				}
			}
		}
	}
	return cells
}
