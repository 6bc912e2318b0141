package source

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

func fullService() *v1.Service {
	policy, class := v1.ServiceInternalTrafficPolicyLocal, "lb"
	vip := v1.LoadBalancerIPModeVIP
	return &v1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "web", UID: "u-1", ResourceVersion: "77", CreationTimestamp: metav1.Unix(1e9, 0),
			Annotations:   map[string]string{"ipvs-proxier.io/scheduler": "quickest", "kubectl.kubernetes.io/last-applied-configuration": "{}"},
			Labels:        map[string]string{"app": "web", cluster.ProxyNameLabel: "other"},
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}},
		},
		Spec: v1.ServiceSpec{
			Type: v1.ServiceTypeLoadBalancer, ClusterIP: "10.96.0.1", ClusterIPs: []string{"10.96.0.1", "fd00::1"}, ExternalIPs: []string{"192.0.2.9"},
			Ports:    []v1.ServicePort{{Name: "http", Protocol: v1.ProtocolTCP, Port: 80, TargetPort: intstr.FromString("http"), NodePort: 30080}},
			Selector: map[string]string{"app": "web"}, SessionAffinity: v1.ServiceAffinityClientIP,
			SessionAffinityConfig:    &v1.SessionAffinityConfig{ClientIP: &v1.ClientIPConfig{TimeoutSeconds: new(int32(99))}},
			LoadBalancerSourceRanges: []string{"203.0.113.0/24"}, ExternalTrafficPolicy: v1.ServiceExternalTrafficPolicyLocal, HealthCheckNodePort: 32000,
			InternalTrafficPolicy: &policy, LoadBalancerClass: &class,
		},
		Status: v1.ServiceStatus{LoadBalancer: v1.LoadBalancerStatus{
			Ingress: []v1.LoadBalancerIngress{{IP: "198.51.100.7", IPMode: &vip}, {Hostname: "x.example"}},
		}},
	}
}

func fullSlice() *discovery.EndpointSlice {
	yes, no := true, false
	node, zone, host := "n1", "a", "web-0"
	return &discovery.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "web-x", UID: "u-2", ResourceVersion: "78",
			Labels: map[string]string{
				discovery.LabelServiceName: "web", discovery.LabelManagedBy: "endpointslice-controller.k8s.io",
			},
			Annotations: map[string]string{
				"ipvs-proxier.io/weight": "7", v1.EndpointsLastChangeTriggerTime: "2033-01-01T00:00:00Z",
			},
		},
		AddressType: discovery.AddressTypeIPv4,
		Ports:       []discovery.EndpointPort{{Name: new("http"), Port: new(int32(8080)), Protocol: new(v1.ProtocolTCP)}},
		Endpoints: []discovery.Endpoint{
			{
				Addresses: []string{"10.244.0.1"}, Conditions: discovery.EndpointConditions{
					Ready: &yes, Serving: &yes, Terminating: &no,
				}, Hostname: &host, NodeName: &node, Zone: &zone,
				TargetRef: &v1.ObjectReference{Kind: "Pod", Namespace: "shop", Name: "web-0", UID: "pod-0"},
				Hints:     &discovery.EndpointHints{ForZones: []discovery.ForZone{{Name: "a"}}},
			},
			{Addresses: []string{
				"10.244.0.2",
			}, Conditions: discovery.EndpointConditions{Ready: &no, Serving: &yes, Terminating: &yes}},
		},
	}
}

// TestPackedIsWhatIsRead: whatever is made of a Service and its slices is made of what is kept of them, too.
func TestPackedIsWhatIsRead(t *testing.T) {
	parsed := func(s *v1.Service, slices ...*discovery.EndpointSlice) cluster.Service {
		return cluster.Parse(cluster.Input{
			Service: s, Slices: slices, NodeName: "n1", Zone: "a", KernelSchedulers: []string{"rr"},
			NodeWeight: func(string) (uint32, bool) { return 0, false },
			LastGood:   func(string, *cluster.ServicePort) (string, bool) { return "", false },
		})
	}
	want := parsed(fullService(), fullSlice())
	if want.Problems.None() || len(want.Ports) != 1 || len(want.Ports[0].Endpoints) != 2 {
		t.Fatalf("the example shows too little: %+v", want)
	}
	service, err := pack(fullService())
	if err != nil {
		t.Fatal(err)
	}
	slice, err := pack(fullSlice())
	if err != nil {
		t.Fatal(err)
	}
	s, e := unpackService(service.data), unpackSlice(slice.data)
	if diff := cmp.Diff(
		want, parsed(s, e), cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmp.AllowUnexported(cluster.Problems{}),
	); diff != "" {
		t.Errorf("want, got from what was kept:\n%s", diff)
	}
	if cluster.Proxied(s, "other") != cluster.Proxied(fullService(), "other") ||
		cluster.Proxied(s, "") != cluster.Proxied(fullService(), "") {
		t.Error("another proxy serves what was kept")
	}
	if slice.of != (cluster.Name{Namespace: "shop", Name: "web"}) || slice.triggered.Year() != 2033 {
		t.Errorf("of %v, triggered %v", slice.of, slice.triggered)
	}
	if len(service.data) > 400 || len(slice.data) > 400 {
		t.Errorf("%d and %d bytes are kept, of which there is ballast", len(service.data), len(slice.data))
	}
}

// TestStoreKeepsWhatIsThere: after any history the store shows the objects that are there. It has reported every
// Service whose picture is another one than when it was last taken, and no other.
func TestStoreKeepsWhatIsThere(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 7))
		s := newStore(func() {})
		services, slicesOf := s.ofServices(), s.ofSlices()
		there := map[string]*v1.Service{}
		slicesThere := map[string]*discovery.EndpointSlice{}
		name := func() string { return fmt.Sprintf("s%d", random.IntN(4)) }
		picture := func(of string) string {
			if there[of] == nil {
				return ""
			}
			text := there[of].Spec.ClusterIP
			for _, key := range slices.Sorted(maps.Keys(slicesThere)) {
				if slicesThere[key].Labels[discovery.LabelServiceName] == of {
					text += " " + key + " " + slicesThere[key].Endpoints[0].Addresses[0]
				}
			}
			return text
		}
		seen := func(of string) string {
			n := cluster.Name{Namespace: "shop", Name: of}
			service := s.service(n)
			if service == nil {
				return ""
			}
			text := service.Spec.ClusterIP
			for _, slice := range s.slices(n) {
				text += " " + slice.Name + " " + slice.Endpoints[0].Addresses[0]
			}
			return text
		}
		taken := map[string]string{}
		must := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		for step := range 60 {
			switch random.IntN(8) {
			case 0, 1:
				o := fullService()
				o.Name, o.Spec.ClusterIP = name(), fmt.Sprintf("10.96.0.%d", 1+random.IntN(2))
				there[o.Name] = o
				must(services.Update(o.DeepCopy()))
			case 2:
				if o := there[name()]; o != nil {
					delete(there, o.Name)
					must(services.Delete(o.DeepCopy()))
				}
			case 3, 4:
				o := fullSlice()
				o.Name, o.Labels[discovery.LabelServiceName] = "e"+name(), name()
				o.Endpoints[0].Addresses[0] = fmt.Sprintf("10.244.0.%d", 1+random.IntN(2))
				slicesThere[o.Name] = o
				must(slicesOf.Update(o.DeepCopy()))
			case 5:
				if o := slicesThere["e"+name()]; o != nil {
					delete(slicesThere, o.Name)
					must(slicesOf.Delete(o.DeepCopy()))
				}
			case 6: // a list after a lost connection, in which something may have gone
				if o := there[name()]; o != nil {
					delete(there, o.Name)
				}
				var list []any
				for _, o := range there {
					list = append(list, o.DeepCopy())
				}
				must(services.Replace(list, ""))
			case 7:
				if o := slicesThere["e"+name()]; o != nil {
					delete(slicesThere, o.Name)
				}
				var list []any
				for _, o := range slicesThere {
					list = append(list, o.DeepCopy())
				}
				must(slicesOf.Replace(list, ""))
			}
			for i := range 4 {
				if of := fmt.Sprintf("s%d", i); seen(of) != picture(of) {
					t.Fatalf("seed %d, step %d: %s is kept as %q, want %q", seed, step, of, seen(of), picture(of))
				}
			}
			if random.IntN(3) > 0 {
				continue
			}
			changed := map[string]bool{}
			for _, change := range s.take() {
				changed[change.Name.Name] = true
			}
			for i := range 4 {
				of := fmt.Sprintf("s%d", i)
				if taken[of] != picture(of) && !changed[of] {
					t.Fatalf("seed %d, step %d: %s changed from %q to %q and is not in the changes",
						seed, step, of, taken[of], picture(of))
				}
				taken[of] = picture(of)
			}
		}
		for _, o := range there {
			must(services.Delete(o))
		}
		for _, o := range slicesThere {
			must(slicesOf.Delete(o))
		}
		if len(s.services)+len(s.of) > 0 {
			t.Fatalf("seed %d: left %v %v", seed, s.services, s.of)
		}
	}
}

// TestTheSameAgainIsNoChange: a list that comes again, and a slice that has nothing new but the time of its last
// change.
func TestTheSameAgainIsNoChange(t *testing.T) {
	notified := 0
	s := newStore(func() { notified++ })
	services, slicesOf := s.ofServices(), s.ofSlices()
	if err := services.Replace([]any{fullService()}, ""); err != nil {
		t.Fatal(err)
	}
	if err := slicesOf.Replace([]any{fullSlice()}, ""); err != nil {
		t.Fatal(err)
	}
	if !services.synced.sent() || len(s.take()) != 1 {
		t.Fatal("the first list is no change")
	}
	notified = 0
	again := fullSlice()
	again.Annotations[v1.EndpointsLastChangeTriggerTime] = time.Now().Add(time.Hour).Format(time.RFC3339Nano)
	for _, err := range []error{services.Replace([]any{fullService()}, ""), slicesOf.Replace([]any{fullSlice()},
		""), slicesOf.Update(again)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if changes := s.take(); notified != 0 || len(changes) != 0 {
		t.Errorf("notified %d times, of %v", notified, changes)
	}
}

// TestTriggersAreBounded: however often the slices of a Service change while nobody takes the changes, few times are
// kept: the first ones.
func TestTriggersAreBounded(t *testing.T) {
	s := newStore(func() {})
	name := cluster.Name{Namespace: "shop", Name: "web"}
	for i := range 10 * budget.Changes {
		s.mark(s.started, []cluster.Name{name}, s.started.Add(time.Duration(1+i)*time.Second))
	}
	got := s.take()[0].Triggered
	if len(got) != budget.Changes || !got[0].Equal(s.started.Add(time.Second)) {
		t.Errorf("%d times from %s on are kept, want %d from %s on",
			len(got), got[0], budget.Changes, s.started.Add(time.Second))
	}
}
