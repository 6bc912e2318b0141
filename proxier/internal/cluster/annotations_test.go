package cluster_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/annotation"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

func annotatedWith(annotations map[string]string) *v1.Service {
	return shopService(func(s *v1.Service) { s.Annotations = annotations })
}

// operator has chosen for everybody, and otherwise for the namespace of the tests' Service.
var operator = cluster.Operator{
	Global:     map[string]string{annotation.Scheduler: "lc"},
	Namespaces: map[string]map[string]string{"shop": {annotation.Scheduler: "sh"}, "other": {annotation.Scheduler: "rr"}},
}

// was is a LastGood that knows one value.
func was(key, value string) cluster.LastGood {
	return func(asked string, _ *cluster.ServicePort) (string, bool) { return value, asked == key && value != "" }
}

// TestAllNodesSeeTheSameProblem: whatever their kernels run, but for what is in force.
func TestAllNodesSeeTheSameProblem(t *testing.T) {
	var seen []cluster.Problem
	for _, lastGood := range []string{"", "lc"} {
		in := cluster.Input{
			Service: annotatedWith(map[string]string{"ipvs-proxier.io/scheduler": "fastest"}), NodeName: "n1",
			LastGood: was(annotation.Scheduler, lastGood),
		}
		got := cluster.Parse(in).Problems.Reported()
		if len(got) != 1 {
			t.Fatalf("%v, want one Problem", got)
		}
		seen = append(seen, got[0])
	}
	if seen[0].Shared() != seen[1].Shared() || seen[0].Text() == seen[1].Text() {
		t.Errorf("a new node says %s, one that runs lc %s", seen[0], seen[1])
	}
}

func TestSchedulerChoice(t *testing.T) {
	const key = "ipvs-proxier.io/scheduler"
	chosen := func(text string) map[string]string { return map[string]string{key: text} }
	for name, c := range map[string]struct {
		annotations map[string]string
		operator    cluster.Operator
		lastGood    string
		want        string // scheduler and source
		problems    []string
	}{
		"nothing":                  {nil, cluster.Operator{}, "", "rr default", nil},
		"the operator's":           {nil, cluster.Operator{Global: map[string]string{annotation.Scheduler: "lc"}}, "", "lc configuration", nil},
		"the namespace's":          {nil, operator, "", "sh configuration of the namespace", nil},
		"last good does not stick": {nil, operator, "lc", "sh configuration of the namespace", nil},
		"the annotation":           {chosen("lc"), operator, "rr", "lc annotation " + key, nil},
		"a long name":              {chosen("least-connection"), operator, "", "lc annotation " + key, nil},
		"case and space":           {chosen(" Round-Robin\n"), operator, "", "rr annotation " + key, nil},
		"for this port by name":    {chosen("http=wlc,*=mh"), operator, "", "wlc annotation " + key, nil},
		"for this port by number":  {chosen("80 = wlc , *=mh"), operator, "", "wlc annotation " + key, nil},
		"for the other ports":      {chosen("*=mh"), operator, "", "mh annotation " + key, nil},
		"for a port that there is not": {chosen("htp=wlc"), operator, "", "sh configuration of the namespace",
			[]string{"AnnotationWithoutEffect metadata.annotations[ipvs-proxier.io/scheduler] no port htp mean http?"}},
		"a port twice": {chosen("http=wlc,http=rr"), cluster.Operator{}, "", "rr default", []string{"InvalidAnnotation names http twice in force is rr (default)"}},
		"a typing error": {chosen("least-conection"), cluster.Operator{}, "", "rr default",
			[]string{`InvalidAnnotation metadata.annotations[ipvs-proxier.io/scheduler] "least-conection" mean least-connection? lc, lblc in force is rr (default)`}},
		"a typing error while something runs": {chosen("least-conection"), operator, "lc", "lc last good value",
			[]string{"InvalidAnnotation least-conection in force is lc (last good value)"}},
		"a typing error for one port": {chosen("http=mhh,*=rr"), cluster.Operator{}, "", "rr default", []string{"InvalidAnnotation mean mh? in force is rr (default)"}},
		"empty":                       {chosen(""), operator, "", "sh configuration of the namespace", []string{`InvalidAnnotation "" in force is sh`}},
		"two":                         {chosen("rr,lc"), operator, "rr", "rr last good value", []string{`"rr,lc" in force is rr`}},
		"a policy of the network":     {chosen("dh"), operator, "", "dh annotation " + key, []string{`UnsuitableScheduler one endpoint in force`}},
		"ovf without weights":         {chosen("ovf"), operator, "", "ovf annotation " + key, []string{`UnsuitableScheduler ipvs-proxier.io/weight in force`}},
		"an unknown key": {map[string]string{"ipvs-proxier.io/schedular": "lc"}, cluster.Operator{}, "", "rr default",
			[]string{"UnknownAnnotation metadata.annotations[ipvs-proxier.io/schedular] mean ipvs-proxier.io/scheduler? no effect"}},
		"an unknown key beside a bad value": {map[string]string{"ipvs-proxier.io/wait": "1", key: "1"}, cluster.Operator{},
			"", "rr default",
			[]string{"InvalidAnnotation", "UnknownAnnotation"}},
		"keys of others":       {map[string]string{"example.io/scheduler": "lc", "scheduler": "lc", "ipvs-proxier.iox/scheduler": "lc"}, cluster.Operator{}, "", "rr default", nil},
		"kube-router's":        {map[string]string{"kube-router.io/service.scheduler": "mh"}, operator, "", "mh annotation kube-router.io/service.scheduler", nil},
		"cilium's":             {map[string]string{"service.cilium.io/lb-algorithm": "Maglev"}, operator, "", "mh annotation service.cilium.io/lb-algorithm", nil},
		"cilium's unknown one": {map[string]string{"service.cilium.io/lb-algorithm": "best"}, operator, "", "sh configuration of the namespace", []string{"InvalidAnnotation service.cilium.io/lb-algorithm best"}},
		"ours before kube-router's": {map[string]string{"kube-router.io/service.scheduler": "rr", key: "lc"}, operator, "",
			"lc annotation " + key,
			[]string{"AnnotationConflict kube-router.io/service.scheduler in force is lc"}},
		"the same twice": {map[string]string{"kube-router.io/service.scheduler": "lc", key: "least-connection"}, operator, "", "lc annotation " + key, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := cluster.Parse(cluster.Input{
				Service: annotatedWith(c.annotations), NodeName: "n1", Operator: c.operator,
				LastGood: was(annotation.Scheduler, c.lastGood),
			})
			s := got.Ports[0].Setting(annotation.Scheduler)
			if is := s.Value + " " + s.Source; is != c.want || got.Ports[0].Scheduler != s.Value {
				t.Errorf("%s (%s), want %s", is, got.Ports[0].Scheduler, c.want)
			}
			wantProblems(t, got.Problems.Reported(), c.problems...)
		})
	}
}

// TestOptions: every key, alone and beside others.
func TestOptions(t *testing.T) {
	for name, c := range map[string]struct {
		annotations string // "key=value; key=value", without the prefix
		want        string // of the first port, which is TCP
		problems    []string
	}{
		"nothing":          {"", "rr none 0s  15m0s false", nil},
		"flags":            {"scheduler=mh; scheduler-flags=port", "mh port 0s  15m0s false", nil},
		"both flags":       {"scheduler=sh; scheduler-flags=Port, fallback", "sh fallback,port 0s  15m0s false", nil},
		"no flags":         {"scheduler=mh; scheduler-flags=none", "mh none 0s  15m0s false", nil},
		"flags for a port": {"scheduler=mh; scheduler-flags=http=port+fallback,*=none", "mh fallback,port 0s  15m0s false", nil},
		"flags by default": {"scheduler=mh", "mh fallback 0s  15m0s false", nil},
		"flags for rr": {"scheduler=rr; scheduler-flags=port", "rr none 0s  15m0s false",
			[]string{"AnnotationWithoutEffect scheduler-flags only mh and sh in force is none"}},
		"an unknown flag":        {"scheduler=mh; scheduler-flags=ports", "mh fallback 0s  15m0s false", []string{"InvalidAnnotation scheduler-flags mean port? in force is fallback (default)"}},
		"slow start":             {"scheduler=wlc; slow-start=30s", "wlc none 30s  15m0s false", nil},
		"slow start of rr":       {"slow-start=30s", "rr none 0s  15m0s false", []string{"AnnotationWithoutEffect slow-start nq, sed, wlc, wrr in force is off"}},
		"slow start too slow":    {"scheduler=wlc; slow-start=25h", "wlc none 0s  15m0s false", []string{"InvalidAnnotation slow-start 24h in force is off (default)"}},
		"a ceiling":              {"max-connections=100", "rr none 0s 100/75 15m0s false", nil},
		"two ceilings":           {"max-connections=100 / 20", "rr none 0s 100/20 15m0s false", nil},
		"a ceiling upside down":  {"max-connections=20/100", "rr none 0s  15m0s false", []string{"InvalidAnnotation max-connections in force is no limit"}},
		"no ceiling":             {"max-connections=0", "rr none 0s  15m0s false", []string{"InvalidAnnotation max-connections in force is no limit"}},
		"drain":                  {"drain-timeout=http=1m,*=2m", "rr none 0s  1m0s false", nil},
		"one packet of TCP only": {"one-packet=true", "rr none 0s  15m0s false", []string{"AnnotationWithoutEffect one-packet no UDP port"}},
		"one packet is no word":  {"one-packet=yes", "rr none 0s  15m0s false", []string{"InvalidAnnotation one-packet in force is false (default)"}},
		"tunnel":                 {"forwarding=tunnel", "rr none 0s  15m0s false", []string{"InvalidAnnotation forwarding in force is nat"}},
		"weights of rr":          {"weight=*=3", "rr none 0s  15m0s false", []string{"AnnotationWithoutEffect weight only 0 counts"}},
		"weights":                {"scheduler=wrr; weight=zone=a:3,*=1", "wrr none 0s  15m0s false", nil},
		"weights beyond":         {"scheduler=wrr; weight=zone=a:65536", "wrr none 0s  15m0s false", []string{"InvalidAnnotation weight in force is the Nodes' weights, else 1"}},
		"all wrong at once": {"scheduler=x; scheduler-flags=x; weight=x; slow-start=x; max-connections=x; drain-timeout=x; forwarding=x; one-packet=x; expose=x; x=x", "rr none 0s  15m0s false",
			[]string{
				"drain-timeout", "expose", "forwarding", "max-connections", "one-packet", "scheduler-flags", "scheduler]",
				"slow-start", "weight", "UnknownAnnotation",
			}},
	} {
		t.Run(name, func(t *testing.T) {
			got := cluster.Parse(cluster.Input{Service: annotatedWith(ours(c.annotations))})
			p := got.Ports[0]
			if is := fmt.Sprint(
				p.Scheduler, " ", p.Flags, " ", p.SlowStart, " ", p.Limit, " ", p.DrainTimeout, " ", p.OnePacket,
			); is != c.want {
				t.Errorf("%s, want %s", is, c.want)
			}
			wantProblems(t, got.Problems.Reported(), c.problems...)
		})
	}
}

// ours reads "key=value; key=value".
func ours(text string) map[string]string {
	annotations := map[string]string{}
	for _, entry := range strings.Split(text, "; ") {
		if key, value, found := strings.Cut(entry, "="); found {
			annotations[annotation.Prefix+key] = value
		}
	}
	return annotations
}

// TestLastGoodStays: a rejected value leaves what is in force, whatever the operator has chosen.
func TestLastGoodStays(t *testing.T) {
	for key, value := range map[string]string{
		annotation.Scheduler: "lc", annotation.SchedulerFlags: "none", annotation.SlowStart: "1m0s",
		annotation.MaxConnections: "9/8",
		annotation.DrainTimeout:   "3s",
	} {
		annotations := map[string]string{annotation.Prefix + annotation.Scheduler: "wlc", annotation.Prefix + key: "!"}
		got := cluster.Parse(cluster.Input{
			Service: annotatedWith(annotations), Operator: operator, LastGood: was(key, value),
		})
		if s := got.Ports[0].Setting(key); s.Value != value || s.Source != cluster.SourceLastGood {
			t.Errorf("%s is %+v, want the last good value %s", key, s, value)
		}
		wantProblems(t, got.Problems.Reported(), "InvalidAnnotation "+key+" in force is "+value+" (last good value)")
	}
}

// TestExpose: only what is named is served.
func TestExpose(t *testing.T) {
	service := func(expose string) cluster.Service {
		return cluster.Parse(cluster.Input{ExternalIPCIDRs: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")},
			Service: shopService(func(s *v1.Service) {
				s.Annotations = ours(expose)
				s.Spec.Type, s.Spec.ExternalIPs, s.Spec.Ports[0].NodePort = v1.ServiceTypeLoadBalancer, []string{
					"203.0.113.1",
				}, 30080
				s.Status.LoadBalancer.Ingress = []v1.LoadBalancerIngress{{IP: "203.0.113.2"}}
			})})
	}
	for expose, want := range map[string]string{
		"": "true 1 1 30080", "expose=cluster-ip": "true 0 0 0", "expose=Node-Port , external-ip": "false 1 0 30080",
		"expose=load-balancer": "false 0 1 0",
	} {
		s := service(expose)
		if is := fmt.Sprint(
			!s.ClusterIPHidden, " ", len(s.ExternalIPs), " ", len(s.LoadBalancerIPs), " ", s.Ports[0].NodePort,
		); is != want || !s.Problems.None() {
			t.Errorf("%q: %s %v, want %s", expose, is, s.Problems.Reported(), want)
		}
	}
}

// TestWeights: the EndpointSlice's, else the Service's by node, zone and for all others, else the Node's, else 1.
func TestWeights(t *testing.T) {
	slice := func(annotations map[string]string) []*discovery.EndpointSlice {
		name, port, protocol, node, zone := "http", int32(8080), v1.ProtocolTCP, "n1", "a"
		return []*discovery.EndpointSlice{{
			ObjectMeta: metav1.ObjectMeta{Name: "shop-1", Annotations: annotations}, AddressType: discovery.AddressTypeIPv4,
			Ports:     []discovery.EndpointPort{{Name: &name, Port: &port, Protocol: &protocol}},
			Endpoints: []discovery.Endpoint{{Addresses: []string{"10.244.0.1"}, NodeName: &node, Zone: &zone}},
		}}
	}
	nodes := func(node string) (uint32, bool) { return 7, node == "n1" }
	for _, c := range []struct {
		slice, service map[string]string
		node           func(string) (uint32, bool)
		want           uint32
		problems       []string
	}{
		{nil, nil, nil, 1, nil},
		{nil, nil, nodes, 7, nil},
		{nil, ours("weight=*=3"), nodes, 3, nil},
		{nil, ours("weight=zone=A:4,*=3"), nodes, 4, nil},
		{nil, ours("weight=zone=a:4,node=N1:0,*=3"), nodes, 0, nil},
		{nil, ours("weight=zone=b:4,node=n2:5"), nodes, 7, nil},
		{ours("weight=00012"), ours("weight=zone=a:4,node=n1:5,*=3"), nodes, 12, nil},
		{ours("weight=many"), ours("weight=*=3"), nodes, 3, []string{"InvalidAnnotation endpointslice shop-1 metadata.annotations[ipvs-proxier.io/weight] many 65535 in force is none"}},
	} {
		service := annotatedWith(c.service)
		if c.service != nil {
			service.Annotations["ipvs-proxier.io/scheduler"] = "wrr"
		}
		got := cluster.Parse(cluster.Input{Service: service, Slices: slice(c.slice), NodeWeight: c.node})
		if len(got.Ports[0].Endpoints) != 1 || got.Ports[0].Endpoints[0].Weight != c.want {
			t.Errorf("%+v: %+v, want the weight %d", c, got.Ports[0].Endpoints, c.want)
		}
		wantProblems(t, got.Problems.Reported(), c.problems...)
	}
}

// TestUnsupportedScheduler: what this node's kernel lacks leaves what is in force.
func TestUnsupportedScheduler(t *testing.T) {
	for lastGood, want := range map[string]string{"": "rr", "lc": "lc"} {
		got := cluster.Parse(cluster.Input{Service: annotatedWith(ours("scheduler=mh")), KernelSchedulers: []string{
			"rr", "lc",
		}, LastGood: was(annotation.Scheduler, lastGood)})
		if got.Ports[0].Scheduler != want {
			t.Errorf("%s is in force, want %s", got.Ports[0].Scheduler, want)
		}
		wantProblems(t, got.Problems.Reported(),
			"UnsupportedScheduler metadata.annotations[ipvs-proxier.io/scheduler] ip_vs_mh rr, lc in force is "+want)
	}
}

// TestEveryPortHasTheChoice: the annotation is the Service's, not a port's.
func TestEveryPortHasTheChoice(t *testing.T) {
	got := parse(shopService(func(s *v1.Service) {
		s.Annotations["ipvs-proxier.io/scheduler"] = "sh"
		s.Spec.Ports = append(s.Spec.Ports, v1.ServicePort{Name: "dns", Protocol: v1.ProtocolUDP, Port: 53})
	}))
	if len(got.Ports) != 2 {
		t.Fatalf("%d ports, want 2", len(got.Ports))
	}
	for _, port := range got.Ports {
		if port.Scheduler != "sh" {
			t.Errorf("port %s has %+v", port.Name, port.Scheduler)
		}
	}
}

// FuzzAnnotation: whatever is written, a registered scheduler is in force. What is in force was so before or is
// allowed, and what is rejected is reported once.
func FuzzAnnotation(f *testing.F) {
	for _, seed := range []string{"", "rr", "LC", "source-hashing", "least-conection", "rr,lc", "\xff", "ſh",
		strings.Repeat(
			"r", 1000,
		), "http=wlc,*=mh", "1m", "10/2", "zone=a:3"} {
		for i := range annotation.Keys(annotation.Service) {
			f.Add(uint8(i), seed, "lc")
		}
	}
	f.Fuzz(func(t *testing.T, at uint8, value, lastGood string) {
		if s, known := scheduler.Lookup(lastGood); !known || s.Name != lastGood {
			lastGood = ""
		}
		keys := annotation.Keys(annotation.Service)
		key := keys[int(at)%len(keys)]
		got := cluster.Parse(cluster.Input{
			Service: annotatedWith(map[string]string{key.String(): value}), Operator: operator,
			LastGood: was(annotation.Scheduler, lastGood),
		})
		port := got.Ports[0]
		if !slices.Contains(scheduler.Names(), port.Scheduler) {
			t.Errorf("%s: %q puts %+v in force", key, value, port)
		}
		_, err := key.Parse(value)
		reported := slices.ContainsFunc(got.Problems.Reported(),
			func(p cluster.Problem) bool { return p.Reason == cluster.InvalidAnnotation })
		if key.Name != annotation.Ignore && reported != (err != nil) {
			t.Errorf("%s: %q: %v, problems %q", key, value, err, got.Problems.Reported())
		}
		if s := port.Setting(annotation.Scheduler); err != nil && key.Name == annotation.Scheduler && lastGood != "" &&
			s.Value != lastGood {
			t.Errorf("%q puts %+v in force, it was %s", value, s, lastGood)
		}
	})
}

// TestMoreEndpointsThanPlaces: the kernel's table of sh has 256 places.
func TestMoreEndpointsThanPlaces(t *testing.T) {
	slice := &discovery.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-a"}, AddressType: discovery.AddressTypeIPv4,
		Ports: []discovery.EndpointPort{{Name: new("http"), Port: new(int32(80))}},
	}
	s := annotatedWith(map[string]string{annotation.Prefix + annotation.Scheduler: "sh"})
	for i := range 257 {
		slice.Endpoints = append(slice.Endpoints,
			discovery.Endpoint{Addresses: []string{fmt.Sprintf("10.244.%d.%d", i/200, 1+i%200)}})
		switch got := parse(s, slice).Problems.Reported(); i + 1 {
		case 256:
			wantProblems(t, got)
		case 257:
			wantProblems(t, got, "UnsuitableScheduler 256 places 257 endpoints it is in force")
		}
	}
}
