package engine

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/annotation"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// author writes objects at random that an API server takes, or once took: what is rare in a cluster is common here.
type author struct{ *rand.Rand }

func pick[T any](a author, of ...T) T { return of[a.IntN(len(of))] }

// mostly picks the first one, or now and then any.
func mostly[T any](a author, of ...T) T {
	if a.IntN(5) > 0 {
		return of[0]
	}
	return pick(a, of...)
}

// some returns up to most texts of a kind.
func (a author) some(most int, make func() string) (texts []string) {
	for range a.IntN(most + 1) {
		texts = append(texts, make())
	}
	return texts
}

// address is one of few, so that Services meet.
func (a author) address() string {
	if a.IntN(3) > 0 {
		return pick(a, fmt.Sprintf("10.96.0.%d", a.IntN(8)), fmt.Sprintf("fd00:96::%x",
			a.IntN(8)), fmt.Sprintf("203.0.113.%d", a.IntN(8)), fmt.Sprintf("10.244.0.%d", a.IntN(8)))
	}
	return pick(a, "", "None", "0.0.0.0", "::", "127.0.0.1", "::1", "169.254.1.1", "fe80::1", "fe80::1%eth0",
		"224.0.0.1", "ff02::1", "255.255.255.255", "::ffff:10.96.0.1",
		"192.168.50.1", "fd00:50::1", "203.0.113.100", "fd00:203::5", "10.97.0.1", "010.096.000.001", "FD00:96::0001",
		"web.example", "\x1b[2J")
}

func (a author) prefix() string {
	return a.address() + pick(a, "/0", "/8", "/24", "/32", "/64", "/128", "/129", "", " ")
}

func (a author) port() int32 { return mostly[int32](a, 80, 443, 22, 1, 65535, 10250, 6443) }

func (a author) portName() string { return mostly(a, "a", "", "b", "http") }

func (a author) protocol() v1.Protocol {
	return mostly(a, v1.ProtocolTCP, "", v1.ProtocolUDP, v1.ProtocolSCTP, "ICMP")
}

// annotations are of keys that mean something, with values that may mean something.
func (a author) annotations(of annotation.Object) map[string]string {
	all := map[string]string{}
	keys := annotation.Keys(of)
	for range a.IntN(4) {
		value := pick(a, "rr", "wrr", "lc", "wlc", "mh", "sh", "dh", "maglev", "a=rr,*=lc", "b=,=", "0", "1", "7", "65535",
			"4294967296", "-1", "1m", "10s", "24h", "1ns", "10/2", "true", "TRUE", "mh-port", "mh-fallback,mh-port",
			"zone=a:3,*=1", "", " ", ",", "\x00\n\x1b", "\xff", strings.Repeat("x", 300))
		all[keys[a.IntN(len(keys))].String()] = value
	}
	if a.IntN(8) == 0 {
		all["ipvs-proxier.io/\x1bunknown"] = "x"
	}
	return all
}

func (a author) service(name cluster.Name) *v1.Service {
	s := &v1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name, UID: types.UID("u-" +
		name.String()), Annotations: a.annotations(annotation.Service)}}
	s.CreationTimestamp = metav1.Unix(int64(a.IntN(3)), 0)
	s.Spec.Type = pick(a, "", v1.ServiceTypeClusterIP, v1.ServiceTypeNodePort, v1.ServiceTypeLoadBalancer,
		v1.ServiceTypeLoadBalancer, v1.ServiceTypeExternalName)
	s.Spec.ClusterIPs = mostly(a, []string{fmt.Sprintf("10.96.0.%d", a.IntN(8)), fmt.Sprintf("fd00:96::%x", a.IntN(8))},
		a.some(2, a.address))
	if len(s.Spec.ClusterIPs) > 0 {
		s.Spec.ClusterIP = s.Spec.ClusterIPs[0]
	}
	s.Spec.ExternalIPs = a.some(3, a.address)
	s.Spec.LoadBalancerSourceRanges = a.some(2, a.prefix)
	s.Spec.SessionAffinity = pick(a, "", v1.ServiceAffinityNone, v1.ServiceAffinityClientIP)
	if a.IntN(2) == 0 {
		s.Spec.SessionAffinityConfig = &v1.SessionAffinityConfig{
			ClientIP: &v1.ClientIPConfig{
				TimeoutSeconds: pick(a, nil, new(int32(0)), new(int32(1)), new(int32(86400)), new(int32(-1))),
			},
		}
	}
	s.Spec.ExternalTrafficPolicy = pick(a, "", v1.ServiceExternalTrafficPolicyCluster,
		v1.ServiceExternalTrafficPolicyLocal)
	s.Spec.InternalTrafficPolicy = pick(a, nil, new(v1.ServiceInternalTrafficPolicyLocal),
		new(v1.ServiceInternalTrafficPolicyCluster))
	s.Spec.TrafficDistribution = pick(a, nil, new("PreferClose"), new("PreferSameNode"), new("x"))
	s.Spec.HealthCheckNodePort = pick[int32](a, 0, 30000, 32000)
	s.Spec.PublishNotReadyAddresses = a.IntN(3) == 0
	for range 1 + a.IntN(3) {
		s.Spec.Ports = append(s.Spec.Ports, v1.ServicePort{
			Name: a.portName(), Protocol: a.protocol(), Port: a.port(), NodePort: pick[int32](a, 0, 30080, 30081, 22, 65535),
		})
	}
	for range a.IntN(3) {
		s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, v1.LoadBalancerIngress{
			IP: a.address(), IPMode: pick(a, nil, new(v1.LoadBalancerIPModeVIP), new(v1.LoadBalancerIPModeProxy)),
		})
	}
	return s
}

func (a author) slice(name, of cluster.Name) *discovery.EndpointSlice {
	truth := func() *bool { return mostly(a, nil, new(true), new(false)) }
	s := &discovery.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name, Labels: map[string]string{
			discovery.LabelServiceName: of.Name,
		}, Annotations: a.annotations(annotation.EndpointSlice)},
		AddressType: mostly(a, discovery.AddressTypeIPv4, discovery.AddressTypeIPv6, discovery.AddressTypeFQDN),
	}
	for range 1 + a.IntN(3) {
		s.Ports = append(s.Ports, discovery.EndpointPort{Name: mostly(a, new(a.portName()), nil), Port: mostly(a,
			new(a.port()), nil, new(int32(0))), Protocol: mostly(a, new(a.protocol()), nil)})
	}
	for range a.IntN(6) {
		e := discovery.Endpoint{
			Addresses: mostly(a, []string{fmt.Sprintf("10.244.0.%d", a.IntN(8))}, a.some(2, a.address)),
			NodeName:  pick(a, nil, new("n1"), new("n2"), new("")), Zone: pick(a, nil, new("a"), new("b")),
			Conditions: discovery.EndpointConditions{Ready: truth(), Serving: truth(), Terminating: truth()},
		}
		if a.IntN(3) == 0 {
			e.Hints = &discovery.EndpointHints{ForZones: []discovery.ForZone{
				{Name: pick(a, "a", "b", "")},
			}, ForNodes: []discovery.ForNode{{Name: pick(a, "n1", "n2")}}}
		}
		if a.IntN(3) == 0 {
			e.TargetRef = &v1.ObjectReference{Kind: "Pod", UID: pick[types.UID](a, "p0", "p1", "")}
		}
		s.Endpoints = append(s.Endpoints, e)
	}
	return s
}

// place is a set of objects: some are those that were there, others are new or gone.
func (a author) place(before objects) objects {
	to := before.clone()
	for i := range 5 {
		of := cluster.Name{Namespace: pick(a, "ns", "cache"), Name: fmt.Sprint("s", i)}
		switch a.IntN(3) {
		case 0:
			delete(to.services, of)
		case 1:
			to.services[of] = a.service(of)
		}
		for j := range 2 {
			name := cluster.Name{Namespace: of.Namespace, Name: fmt.Sprintf("s%d-%d", i, j)}
			switch a.IntN(4) {
			case 0:
				delete(to.slices, name)
			case 1, 2:
				to.slices[name] = a.slice(name, of)
			}
		}
	}
	return to
}

// node is this one; what it writes of itself is as odd as the rest.
func (a author) node() map[string]*v1.Node {
	if a.IntN(3) == 0 {
		return nil
	}
	n := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: map[string]string{
		v1.LabelTopologyZone: pick(a, "a", "b", ""),
	}, Annotations: a.annotations(annotation.Node)}}
	for _, address := range a.some(3, a.address) {
		n.Status.Addresses = append(n.Status.Addresses,
			v1.NodeAddress{Type: pick(a, v1.NodeInternalIP, v1.NodeExternalIP, v1.NodeHostName), Address: address})
	}
	return map[string]*v1.Node{"n1": n}
}

// TestHostileWalk goes from hostile objects to others, with faults, audits and restarts on the way. Wherever it is,
// nothing is left to be tried again, no operation is refused for good, and what is reported can be printed. Without
// wrong annotations the kernel is as it would be had these objects been the first.
func TestHostileWalk(t *testing.T) {
	seed := anySeed(t)
	a := author{rand.New(rand.NewPCG(seed, 3))}
	s := newScenario(t, 0.1, seed)
	s.faulty.Burst = 20
	for range 150 {
		s.objects.nodes = a.node()
		s.objects.version++
		s.walkTo(a.place(*s.objects))
		if a.IntN(10) == 0 {
			s.mode = pick(a, dataplane.ByAddress, dataplane.ByRoute)
			s.restart()
			s.converge(nil, true)
		}
		if a.IntN(4) == 0 {
			s.converge(nil, true)
		}
		s.now = s.now.Add(25 * time.Hour) // all drains and slow starts are over
		s.converge(nil, false)
		s.testPrintable()
		s.walkTo(s.corrected())
		s.now = s.now.Add(25 * time.Hour)
		s.converge(nil, false)
		s.testAsFresh()
		if t.Failed() {
			return
		}
	}
}

// testPrintable: Problems are few, short, and without control characters; nothing of a Service failed.
func (s *scenario) testPrintable() {
	s.t.Helper()
	problems := slices.Clone(s.node)
	for _, row := range s.rows {
		if len(row.Errors) > 0 {
			s.t.Errorf("%s: %q", row.Name, row.Errors)
		}
		if len(row.Problems) > 3*budget.Problems {
			s.t.Errorf("%s has %d Problems", row.Name, len(row.Problems))
		}
		problems = append(problems, row.Problems...)
	}
	for _, p := range problems {
		if text := p.Text(); budget.Printable(text) != text || len(text) > 2*budget.MessageBytes {
			s.t.Errorf("a Problem of %d bytes: %q", len(text), text)
		}
	}
}

// corrected returns the objects without the annotations of Services where one is wrong: there the last good value is in
// force, which a new engine does not know.
func (s *scenario) corrected() objects {
	to := s.objects.clone()
	for name, row := range s.rows {
		service := to.services[name]
		if service == nil ||
			!slices.ContainsFunc(row.Problems, func(p cluster.Problem) bool { return p.Reason == cluster.InvalidAnnotation }) {
			continue
		}
		service = service.DeepCopy()
		service.Annotations = nil
		to.services[name] = service
		for _, slice := range s.objects.Slices(name) {
			at := nameOf(slice)
			slice = slice.DeepCopy()
			slice.Annotations = nil
			to.slices[at] = slice
		}
	}
	return to
}

// testAsFresh compares kernel and mirror with those of an engine that begins with these objects.
func (s *scenario) testAsFresh() {
	s.t.Helper()
	fresh := newScenario(s.t, 0, 0)
	// All at once: front ends that two Services want go to the right one from the first.
	fresh.mode, fresh.piece = s.mode, 1<<20
	fresh.objects = s.objects
	fresh.restart()
	fresh.converge(nil, true)
	if diff := gocmp.Diff(fresh.memory.State().Text(), s.memory.State().Text()); diff != "" {
		s.t.Errorf("(-fresh +walked):\n%s", diff)
	}
	if diff := gocmp.Diff(s.memory.State().Text(), s.engine.have.Text()); diff != "" {
		s.t.Errorf("(-kernel +mirror):\n%s", diff)
	}
	apiServer := netip.MustParseAddr("203.0.113.100") // restart
	for id := range s.memory.State().VirtualServers {
		if id.Addr.IsLoopback() || id.Addr.IsMulticast() || id.Addr.IsUnspecified() ||
			id.Addr == apiServer && !s.engine.ownAddress(id.Addr) && !s.isClusterIP(id.Addr) {
			s.t.Errorf("%s is served", id)
		}
	}
}

// isClusterIP reports whether the API has given the address to a Service.
func (s *scenario) isClusterIP(addr netip.Addr) bool {
	for _, service := range s.objects.services {
		if slices.Contains(service.Spec.ClusterIPs, addr.String()) {
			return true
		}
	}
	return false
}
