package cluster_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/annotation"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// sticky returns the Service of the tests with session affinity.
func sticky(annotations map[string]string, change ...func(*v1.Service)) *v1.Service {
	return shopService(append([]func(*v1.Service){func(s *v1.Service) {
		s.Annotations, s.Spec.SessionAffinity = annotations, v1.ServiceAffinityClientIP
	}}, change...)...)
}

// manyEndpoints returns a slice with n endpoints.
func manyEndpoints(n int) []*discovery.EndpointSlice {
	slice := &discovery.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-a"}, AddressType: discovery.AddressTypeIPv4,
		Ports: []discovery.EndpointPort{{Name: new("http"), Port: new(int32(80))}},
	}
	for i := range n {
		slice.Endpoints = append(slice.Endpoints,
			discovery.Endpoint{Addresses: []string{fmt.Sprintf("10.244.%d.%d", i/200, 1+i%200)}})
	}
	return []*discovery.EndpointSlice{slice}
}

// TestAffinityChoosesAHash: where nobody chose a scheduler, a Service with session affinity gets one by which all nodes
// choose alike.
func TestAffinityChoosesAHash(t *testing.T) {
	const key, flags = "ipvs-proxier.io/scheduler", "ipvs-proxier.io/scheduler-flags"
	without := func(missing ...string) []string {
		return slices.DeleteFunc([]string{"lc", "mh", "rr", "sh"},
			func(name string) bool { return slices.Contains(missing, name) })
	}
	ports := func(n int) func(*v1.Service) {
		return func(s *v1.Service) {
			s.Spec.Ports = nil
			for i := range n {
				s.Spec.Ports = append(s.Spec.Ports, v1.ServicePort{Name: fmt.Sprint("p", i), Port: int32(1 + i)})
			}
		}
	}
	balanced := func(n int) func(*v1.Service) {
		return func(s *v1.Service) {
			s.Spec.Type = v1.ServiceTypeLoadBalancer
			for i := range n {
				s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress,
					v1.LoadBalancerIngress{IP: netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)}).String()})
			}
		}
	}
	for name, c := range map[string]struct {
		in       cluster.Input
		want     string // scheduler, flags, and the source of each
		problems []string
	}{
		"nobody chose": {cluster.Input{Service: sticky(nil)}, "mh fallback, session affinity, session affinity", nil},
		"a kernel without mh": {cluster.Input{Service: sticky(nil), KernelSchedulers: without("mh")},
			"sh fallback, session affinity, session affinity", nil},
		"a kernel without hashes": {cluster.Input{Service: sticky(nil), KernelSchedulers: without("mh", "sh")}, "rr none, default, default", nil},
		"as many endpoints as mh has places": {cluster.Input{Service: sticky(nil), Slices: manyEndpoints(4093)},
			"mh fallback, session affinity, session affinity", nil},
		"more endpoints than places": {cluster.Input{Service: sticky(nil), Slices: manyEndpoints(4094)}, "rr none, default, default", nil},
		"more endpoints than places of sh": {cluster.Input{
			Service: sticky(nil), Slices: manyEndpoints(257), KernelSchedulers: without("mh"),
		},
			"rr none, default, default", nil},
		"as many front ends as may have large tables": {cluster.Input{Service: sticky(nil, ports(256))}, "mh fallback, session affinity, session affinity", nil},
		"more of them":              {cluster.Input{Service: sticky(nil, ports(257))}, "sh fallback, session affinity, session affinity", nil},
		"more of them by addresses": {cluster.Input{Service: sticky(nil, ports(2), balanced(128))}, "sh fallback, session affinity, session affinity", nil},
		"the Service chose": {cluster.Input{Service: sticky(map[string]string{key: "rr"})},
			"rr none, annotation " + key + ", default", nil},
		"the Service chose a hash": {cluster.Input{Service: sticky(map[string]string{key: "mh", flags: "port"})},
			"mh port, annotation " + key + ", annotation " + flags, nil},
		"the operator chose": {cluster.Input{
			Service: sticky(nil), Operator: cluster.Operator{Global: map[string]string{annotation.Scheduler: "rr"}},
		},
			"rr none, configuration, default", nil},
		"the operator chose flags alone": {cluster.Input{
			Service: sticky(nil), Operator: cluster.Operator{Global: map[string]string{annotation.SchedulerFlags: "port"}},
		},
			"mh fallback, session affinity, session affinity", nil},
		"a mistake": {cluster.Input{Service: sticky(map[string]string{key: "fastest"})},
			"mh fallback, session affinity, session affinity",
			[]string{"InvalidAnnotation fastest in force is mh (session affinity)"}},
		"a mistake while something runs": {cluster.Input{
			Service: sticky(map[string]string{key: "fastest"}), LastGood: was(annotation.Scheduler, "lc"),
		},
			"lc none, last good value, default", []string{"InvalidAnnotation fastest in force is lc (last good value)"}},
		"a choice that the kernel lacks": {cluster.Input{
			Service: sticky(map[string]string{key: "sed"}), KernelSchedulers: without(),
		},
			"mh fallback, session affinity, session affinity",
			[]string{"UnsupportedScheduler sed in force is mh (session affinity)"}},
		"flags alone": {cluster.Input{Service: sticky(map[string]string{flags: "port"})},
			"mh fallback, session affinity, session affinity",
			[]string{"AnnotationWithoutEffect scheduler-flags session affinity chooses name a scheduler"}},
		"the flags that it has": {cluster.Input{Service: sticky(map[string]string{flags: "fallback"})}, "mh fallback, session affinity, session affinity", nil},
		"weights":               {cluster.Input{Service: sticky(map[string]string{"ipvs-proxier.io/weight": "*=3"})}, "mh fallback, session affinity, session affinity", nil},
		"no affinity":           {cluster.Input{Service: shopService()}, "rr none, default, default", nil},
	} {
		t.Run(name, func(t *testing.T) {
			c.in.NodeName = "n1"
			got := cluster.Parse(c.in)
			port := got.Ports[0]
			scheduler, flags := port.Setting(annotation.Scheduler), port.Setting(annotation.SchedulerFlags)
			if is := fmt.Sprintf("%s %s, %s, %s", port.Scheduler, port.Flags, scheduler.Source, flags.Source); is != c.want ||
				scheduler.Value != port.Scheduler || flags.Value != port.Flags.String() {
				t.Errorf("%s (%s, %s), want %s", is, scheduler.Value, flags.Value, c.want)
			}
			wantProblems(t, got.Problems.Reported(), c.problems...)
		})
	}
}
