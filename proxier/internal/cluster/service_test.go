package cluster_test

import (
	"fmt"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

func service(change ...func(*v1.Service)) *v1.Service {
	s := &v1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web"},
		Spec:       v1.ServiceSpec{ClusterIP: "10.96.0.10", Ports: []v1.ServicePort{{Name: "http", Port: 80}}},
	}
	for _, f := range change {
		f(s)
	}
	return s
}

func annotated(key, value string) func(*v1.Service) {
	return func(s *v1.Service) {
		if s.Annotations == nil {
			s.Annotations = map[string]string{}
		}
		s.Annotations[key] = value
	}
}

func TestProxied(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*v1.Service)
		want   bool
	}{
		"a cluster IP":         {func(*v1.Service) {}, true},
		"a node port":          {func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeNodePort }, true},
		"headless":             {func(s *v1.Service) { s.Spec.ClusterIP = v1.ClusterIPNone }, false},
		"no cluster IP yet":    {func(s *v1.Service) { s.Spec.ClusterIP = "" }, false},
		"an external name":     {func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeExternalName }, false},
		"another proxy":        {func(s *v1.Service) { s.Labels = map[string]string{cluster.ProxyNameLabel: "x"} }, false},
		"another proxy, of ''": {func(s *v1.Service) { s.Labels = map[string]string{cluster.ProxyNameLabel: ""} }, false},
	} {
		if got := cluster.Proxied(service(c.change)); got != c.want {
			t.Errorf("%s: proxied %v, want %v", name, got, c.want)
		}
	}
}

// describe puts what Parse made of a Service into one line.
func describe(s cluster.Service) string {
	text := fmt.Sprint(s.ClusterIPs)
	for _, p := range s.Ports {
		text += fmt.Sprintf(" %s/%s:%d", p.Name, p.Protocol, p.Port)
		if p.NodePort != 0 {
			text += fmt.Sprintf("+%d", p.NodePort)
		}
		text += " " + p.Choice.Scheduler
	}
	if s.Affinity != 0 {
		text += " affinity " + s.Affinity.String()
	}
	return text
}

// TestParse: what is good is carried out; what is not becomes a Problem that names the field, and the rest goes on.
func TestParse(t *testing.T) {
	ports := func(ports ...v1.ServicePort) func(*v1.Service) {
		return func(s *v1.Service) { s.Spec.Ports = ports }
	}
	affinity := func(seconds *int32) func(*v1.Service) {
		return func(s *v1.Service) {
			s.Spec.SessionAffinity = v1.ServiceAffinityClientIP
			if seconds != nil {
				s.Spec.SessionAffinityConfig = &v1.SessionAffinityConfig{ClientIP: &v1.ClientIPConfig{TimeoutSeconds: seconds}}
			}
		}
	}
	ips := func(ips ...string) func(*v1.Service) {
		return func(s *v1.Service) { s.Spec.ClusterIPs = ips }
	}
	local := v1.ServiceInternalTrafficPolicyLocal
	const key = "ipvs-proxier.io/scheduler"
	for _, c := range []struct {
		name     string
		change   func(*v1.Service)
		want     string
		problems []string // words of each problem, in order
	}{
		{"plain", ips(), "[10.96.0.10] http/tcp:80 rr", nil},
		{"dual stack", ips("10.96.0.10", "fd00::10"), "[10.96.0.10 fd00::10] http/tcp:80 rr", nil},
		{"two of one family", ips("10.96.0.10", "10.96.0.11"), "[10.96.0.10] http/tcp:80 rr", []string{"InvalidField spec.clusterIPs[1] 10.96.0.11"}},
		{"no address", ips("10.96.0.10", "fd00::1%eth0"), "[10.96.0.10] http/tcp:80 rr", []string{"InvalidField spec.clusterIPs[1]"}},
		{"loopback", ips("127.0.0.1"), "[] http/tcp:80 rr", []string{"InvalidField spec.clusterIPs[0] 127.0.0.1"}},
		{"three protocols", ports(v1.ServicePort{Port: 1, Protocol: v1.ProtocolUDP}, v1.ServicePort{Name: "a", Port: 2, Protocol: v1.ProtocolSCTP, NodePort: 30000}), "[10.96.0.10] /udp:1 rr a/sctp:2+30000 rr", nil},
		{"a bad protocol", ports(v1.ServicePort{Port: 1, Protocol: "ICMP"}, v1.ServicePort{Name: "b", Port: 2}), "[10.96.0.10] b/tcp:2 rr", []string{"InvalidField spec.ports[0].protocol ICMP TCP"}},
		{"a bad port", ports(v1.ServicePort{Port: 70000}), "[10.96.0.10]", []string{"InvalidField spec.ports[0].port 70000"}},
		{"a bad node port", ports(v1.ServicePort{Port: 1, NodePort: 70000}), "[10.96.0.10] /tcp:1 rr", []string{"InvalidField spec.ports[0].nodePort 70000"}},
		{"affinity by default for 3 h", affinity(nil), "[10.96.0.10] http/tcp:80 rr affinity 3h0m0s", nil},
		{"affinity for a minute", affinity(new(int32(60))), "[10.96.0.10] http/tcp:80 rr affinity 1m0s", nil},
		{"affinity for too long", affinity(new(int32(86401))), "[10.96.0.10] http/tcp:80 rr affinity 3h0m0s", []string{"InvalidField timeoutSeconds 86401 86400 10800"}},
		{"a scheduler", annotated(key, "lc"), "[10.96.0.10] http/tcp:80 lc", nil},
		{"by its long name", annotated(key, "Source-Hash"), "[10.96.0.10] http/tcp:80 sh", nil},
		{"a bad scheduler", annotated(key, "roundrobbin"), "[10.96.0.10] http/tcp:80 rr", []string{"InvalidAnnotation metadata.annotations[ipvs-proxier.io/scheduler] roundrobbin lc rr sh in force is rr"}},
		{"an empty scheduler", annotated(key, ""), "[10.96.0.10] http/tcp:80 rr", []string{"InvalidAnnotation \"\""}},
		{"a misspelt key", annotated("ipvs-proxier.io/schedulr", "lc"), "[10.96.0.10] http/tcp:80 rr", []string{"UnknownAnnotation schedulr did you mean ipvs-proxier.io/scheduler?"}},
		{"somebody else's key", annotated("example.org/scheduler", "x"), "[10.96.0.10] http/tcp:80 rr", nil},
		{"policies", func(s *v1.Service) {
			s.Spec.ExternalTrafficPolicy, s.Spec.InternalTrafficPolicy = v1.ServiceExternalTrafficPolicyLocal, &local
			s.Spec.ExternalIPs = []string{"203.0.113.1"}
		}, "[10.96.0.10] http/tcp:80 rr", []string{"UnsupportedField spec.externalIPs", "UnsupportedField spec.externalTrafficPolicy Cluster", "UnsupportedField spec.internalTrafficPolicy Cluster"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := cluster.Parse(cluster.Input{Service: service(c.change), NodeName: "n1"})
			if got := describe(s); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
			if len(s.Problems) != len(c.problems) {
				t.Fatalf("problems %v, want %q", s.Problems, c.problems)
			}
			for i, words := range c.problems {
				for word := range strings.FieldsSeq(words) {
					if !strings.Contains(s.Problems[i].String(), word) {
						t.Errorf("problem %q does not say %q", s.Problems[i], word)
					}
				}
			}
		})
	}
}

// TestWhoChoosesTheScheduler: the annotation, the namespace, the operator, the default; what is programmed under a bad annotation.
func TestWhoChoosesTheScheduler(t *testing.T) {
	const key = "ipvs-proxier.io/scheduler"
	for _, c := range []struct {
		annotation, namespace, operator, lastGood string
		want, source                              string
	}{
		{"", "", "", "", "rr", cluster.SourceDefault},
		{"", "", "lc", "", "lc", cluster.SourceConfig},
		{"", "sh", "lc", "", "sh", cluster.SourceNamespace},
		{"rr", "sh", "lc", "", "rr", cluster.SourceAnnotation},
		{"", "", "", "lc", "rr", cluster.SourceDefault}, // what was programmed counts for nothing when nothing is wrong
		{"bad", "sh", "lc", "", "sh", cluster.SourceNamespace},
		{"bad", "sh", "lc", "rr", "rr", cluster.SourceLastGood},
	} {
		in := cluster.Input{Service: service(), Schedulers: cluster.Schedulers{Default: c.operator, Namespaces: map[string]string{"ns": c.namespace}}, LastGood: c.lastGood}
		if c.annotation != "" {
			in.Service = service(annotated(key, c.annotation))
		}
		choice := cluster.Parse(in).Ports[0].Choice
		if choice.Scheduler != c.want || choice.Source != c.source {
			t.Errorf("%+v: %+v", c, choice)
		}
	}
}

func slice(name string, family discovery.AddressType, ports []discovery.EndpointPort, endpoints ...discovery.Endpoint) *discovery.EndpointSlice {
	return &discovery.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}, AddressType: family, Ports: ports, Endpoints: endpoints}
}

func TestEndpoints(t *testing.T) {
	tcp, udp := v1.ProtocolTCP, v1.ProtocolUDP
	port := func(name string, number int32) []discovery.EndpointPort {
		return []discovery.EndpointPort{{Name: &name, Port: &number}}
	}
	at := func(addr string, change ...func(*discovery.Endpoint)) discovery.Endpoint {
		e := discovery.Endpoint{Addresses: []string{addr}}
		for _, f := range change {
			f(&e)
		}
		return e
	}
	conditions := func(ready, serving, terminating *bool) func(*discovery.Endpoint) {
		return func(e *discovery.Endpoint) {
			e.Conditions = discovery.EndpointConditions{Ready: ready, Serving: serving, Terminating: terminating}
		}
	}
	on := func(node string) func(*discovery.Endpoint) {
		return func(e *discovery.Endpoint) { e.NodeName = &node }
	}
	yes, no := new(true), new(false)
	for _, c := range []struct {
		name     string
		slices   []*discovery.EndpointSlice
		want     string // addresses with port and conditions: Ready Serving Terminating, Local, reMote
		problems int
	}{
		{"plain", []*discovery.EndpointSlice{slice("a", "IPv4", port("http", 8080), at("10.0.0.2"), at("10.0.0.1"))}, "10.0.0.1:8080 RS, 10.0.0.2:8080 RS", 0},
		{"of both families", []*discovery.EndpointSlice{slice("a", "IPv4", port("http", 8080), at("10.0.0.1")), slice("b", "IPv6", port("http", 8080), at("fd00::1"))}, "10.0.0.1:8080 RS, [fd00::1]:8080 RS", 0},
		{"conditions", []*discovery.EndpointSlice{slice("a", "IPv4", port("http", 8080), at("10.0.0.1", conditions(yes, yes, no)), at("10.0.0.2", conditions(no, yes, yes)), at("10.0.0.3", conditions(no, no, no)))},
			"10.0.0.1:8080 RS, 10.0.0.2:8080 ST, 10.0.0.3:8080 ", 0},
		{"nodes", []*discovery.EndpointSlice{slice("a", "IPv4", port("http", 8080), at("10.0.0.1", on("n1")), at("10.0.0.2", on("n2")))}, "10.0.0.1:8080 RSL, 10.0.0.2:8080 RSM", 0},
		{"in two slices, the better one counts", []*discovery.EndpointSlice{slice("a", "IPv4", port("http", 8080), at("10.0.0.1", conditions(no, no, yes))), slice("b", "IPv4", port("http", 8080), at("10.0.0.1"))}, "10.0.0.1:8080 RS", 0},
		{"another number in another slice", []*discovery.EndpointSlice{slice("a", "IPv4", port("http", 8080), at("10.0.0.1")), slice("b", "IPv4", port("http", 8081), at("10.0.0.1"))}, "10.0.0.1:8080 RS, 10.0.0.1:8081 RS", 0},
		{"another name", []*discovery.EndpointSlice{slice("a", "IPv4", port("https", 8443), at("10.0.0.1"))}, "", 0},
		{"another protocol", []*discovery.EndpointSlice{slice("a", "IPv4", []discovery.EndpointPort{{Name: new("http"), Port: new(int32(80)), Protocol: &udp}}, at("10.0.0.1"))}, "", 0},
		{"the protocol named", []*discovery.EndpointSlice{slice("a", "IPv4", []discovery.EndpointPort{{Name: new("http"), Port: new(int32(80)), Protocol: &tcp}}, at("10.0.0.1"))}, "10.0.0.1:80 RS", 0},
		{"all ports", []*discovery.EndpointSlice{slice("a", "IPv4", []discovery.EndpointPort{{Name: new("http")}}, at("10.0.0.1"))}, "", 0},
		{"names of hosts", []*discovery.EndpointSlice{slice("a", "FQDN", port("http", 8080), at("example.org"))}, "", 0},
		{"no address at all", []*discovery.EndpointSlice{slice("a", "IPv4", port("http", 8080), discovery.Endpoint{})}, "", 0},
		{"bad addresses are left out, each told", []*discovery.EndpointSlice{slice("a", "IPv4", port("http", 8080), at("127.0.0.1"), at("0.0.0.0"), at("224.0.0.1"), at("fd00::1"), at("x"), at("10.0.0.1"))}, "10.0.0.1:8080 RS", 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := cluster.Parse(cluster.Input{Service: service(), Slices: c.slices, NodeName: "n1"})
			var got []string
			for _, e := range s.Ports[0].Endpoints {
				flags := ""
				for _, f := range []struct {
					on   bool
					text string
				}{{e.Ready, "R"}, {e.Serving, "S"}, {e.Terminating, "T"}, {e.Local, "L"}, {e.Remote, "M"}} {
					if f.on {
						flags += f.text
					}
				}
				host := e.Addr.String()
				if e.Addr.Is6() {
					host = "[" + host + "]"
				}
				got = append(got, fmt.Sprintf("%s:%d %s", host, e.Port, flags))
			}
			if text := strings.Join(got, ", "); text != c.want {
				t.Errorf("%q, want %q", text, c.want)
			}
			if len(s.Problems) != c.problems {
				t.Errorf("%d problems, want %d: %v", len(s.Problems), c.problems, s.Problems)
			}
		})
	}
}

func TestParseName(t *testing.T) {
	for text, want := range map[string]string{"ns/web": "ns/web", "web": "", "/web": "", "ns/": "", "a/b/c": ""} {
		name, err := cluster.ParseName(text)
		if (err == nil) != (want != "") || err == nil && name.String() != want {
			t.Errorf("ParseName(%q) = %q, %v; want %q", text, name, err, want)
		}
	}
}

// FuzzScheduler: whatever an annotation says, a scheduler that exists is in force, and what is none is told.
func FuzzScheduler(f *testing.F) {
	for _, text := range []string{"rr", "Least-Connection", "", "\x00", "💥", strings.Repeat("r", 300)} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s := cluster.Parse(cluster.Input{Service: service(annotated("ipvs-proxier.io/scheduler", text))})
		choice := s.Ports[0].Choice
		if (choice.Source == cluster.SourceAnnotation) == (len(s.Problems) > 0) || choice.Scheduler == "" {
			t.Errorf("%q: %+v, %v", text, choice, s.Problems)
		}
	})
}
