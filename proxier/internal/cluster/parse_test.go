package cluster_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// shopService returns shop/web on 10.96.0.1 with the TCP port 80 named http, after the changes.
func shopService(changes ...func(*v1.Service)) *v1.Service {
	s := &v1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "u1", Annotations: map[string]string{}},
		Spec: v1.ServiceSpec{
			ClusterIP: "10.96.0.1", ClusterIPs: []string{"10.96.0.1"},
			Ports: []v1.ServicePort{{Name: "http", Protocol: v1.ProtocolTCP, Port: 80}},
		},
	}
	for _, change := range changes {
		change(s)
	}
	return s
}

// parse reads the Service as node n1 does, without choices of the operator.
func parse(s *v1.Service, slices ...*discovery.EndpointSlice) cluster.Service {
	return cluster.Parse(cluster.Input{Service: s, Slices: slices, NodeName: "n1"})
}

// wantProblems compares problems with texts: each says every word of its text, in the order of the texts.
func wantProblems(t *testing.T, got []cluster.Problem, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("problems %q, want %d", got, len(want))
		return
	}
	for i, words := range want {
		for word := range strings.FieldsSeq(words) {
			if !strings.Contains(got[i].String(), word) {
				t.Errorf("problem %q does not say %q", got[i], word)
			}
		}
	}
}

func TestWhatIsProxied(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*v1.Service)
		want   bool
	}{
		"cluster IP":               {func(*v1.Service) {}, true},
		"node port":                {func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeNodePort }, true},
		"load balancer":            {func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeLoadBalancer }, true},
		"without selector":         {func(s *v1.Service) { s.Spec.Selector = nil }, true},
		"headless":                 {func(s *v1.Service) { s.Spec.ClusterIP = v1.ClusterIPNone }, false},
		"no address yet":           {func(s *v1.Service) { s.Spec.ClusterIP = "" }, false},
		"external name":            {func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeExternalName }, false},
		"another proxy":            {func(s *v1.Service) { s.Labels = map[string]string{cluster.ProxyNameLabel: "other"} }, false},
		"another proxy, no name":   {func(s *v1.Service) { s.Labels = map[string]string{cluster.ProxyNameLabel: ""} }, false},
		"a label that is not ours": {func(s *v1.Service) { s.Labels = map[string]string{"app": "web"} }, true},
	} {
		if got := cluster.Proxied(shopService(c.change), ""); got != c.want {
			t.Errorf("%s: proxied is %v, want %v", name, got, c.want)
		}
		// A proxier with a name of its own serves those with that name only.
		named := shopService(c.change)
		if cluster.Proxied(named, "us") {
			t.Errorf("%s: proxied by us, although not for our name", name)
		}
		named.Labels = map[string]string{cluster.ProxyNameLabel: "us"}
		otherwise := named.Spec.Type == v1.ServiceTypeExternalName || named.Spec.ClusterIP == "" ||
			named.Spec.ClusterIP == v1.ClusterIPNone
		if got := cluster.Proxied(named, "us"); got == otherwise {
			t.Errorf("%s: proxied by us, for our name, is %v", name, got)
		}
	}
}

func TestParseCopiesTheIdentity(t *testing.T) {
	created := metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	got := parse(shopService(func(s *v1.Service) { s.CreationTimestamp = created }))
	if got.Name != (cluster.Name{Namespace: "shop", Name: "web"}) || got.UID != "u1" || !got.Created.Equal(created.Time) {
		t.Errorf("%+v", got)
	}
	wantProblems(t, got.Problems.Reported())
}

func TestClusterIPs(t *testing.T) {
	for name, c := range map[string]struct {
		first    string
		all      []string
		want     string
		problems []string
	}{
		"one":                           {"10.96.0.1", []string{"10.96.0.1"}, "[10.96.0.1]", nil},
		"only the old field":            {"10.96.0.1", nil, "[10.96.0.1]", nil},
		"only the old field, IPv6":      {"fd00::1", nil, "[fd00::1]", nil},
		"dual stack":                    {"10.96.0.1", []string{"10.96.0.1", "fd00::1"}, "[10.96.0.1 fd00::1]", nil},
		"dual stack, IPv6 first":        {"fd00::1", []string{"fd00::1", "10.96.0.1"}, "[fd00::1 10.96.0.1]", nil},
		"two of one family":             {"10.96.0.1", []string{"10.96.0.1", "10.96.0.2"}, "[10.96.0.1]", []string{"InvalidField spec.clusterIPs[1] 10.96.0.2 not served 10.96.0.1"}},
		"no address":                    {"ten", []string{"ten"}, "[]", []string{`InvalidField spec.clusterIPs[0] "ten" no IP address not served`}},
		"one of two is bad":             {"10.96.0.1", []string{"10.96.0.1", "fd00::g"}, "[10.96.0.1]", []string{"spec.clusterIPs[1] fd00::g"}},
		"a zone":                        {"fe80::1%eth0", []string{"fe80::1%eth0"}, "[]", []string{"fe80::1%eth0"}},
		"loopback":                      {"127.0.0.1", []string{"127.0.0.1"}, "[]", []string{"127.0.0.1"}},
		"multicast":                     {"224.0.0.1", []string{"224.0.0.1"}, "[]", []string{"224.0.0.1"}},
		"unspecified":                   {"0.0.0.0", []string{"0.0.0.0"}, "[]", []string{"0.0.0.0"}},
		"IPv4 in IPv6":                  {"::ffff:10.96.0.1", []string{"::ffff:10.96.0.1"}, "[]", []string{"::ffff:10.96.0.1"}},
		"a bad one before a good one":   {"::", []string{"::", "10.96.0.1"}, "[10.96.0.1]", []string{"spec.clusterIPs[0]"}},
		"leading zeros are not decimal": {"010.96.0.1", []string{"010.96.0.1"}, "[]", []string{"010.96.0.1"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := parse(shopService(func(s *v1.Service) { s.Spec.ClusterIP, s.Spec.ClusterIPs = c.first, c.all }))
			if text := fmt.Sprint(got.ClusterIPs); text != c.want {
				t.Errorf("addresses %s, want %s", text, c.want)
			}
			wantProblems(t, got.Problems.Reported(), c.problems...)
		})
	}
}

func TestAffinity(t *testing.T) {
	seconds := func(n int32) *v1.SessionAffinityConfig {
		return &v1.SessionAffinityConfig{ClientIP: &v1.ClientIPConfig{TimeoutSeconds: &n}}
	}
	for name, c := range map[string]struct {
		affinity v1.ServiceAffinity
		config   *v1.SessionAffinityConfig
		want     time.Duration
		problems []string
	}{
		"absent":                  {"", nil, 0, nil},
		"none":                    {v1.ServiceAffinityNone, nil, 0, nil},
		"none with a timeout":     {v1.ServiceAffinityNone, seconds(5), 0, nil},
		"client IP":               {v1.ServiceAffinityClientIP, nil, 3 * time.Hour, nil},
		"client IP, empty config": {v1.ServiceAffinityClientIP, &v1.SessionAffinityConfig{}, 3 * time.Hour, nil},
		"client IP, no timeout":   {v1.ServiceAffinityClientIP, &v1.SessionAffinityConfig{ClientIP: &v1.ClientIPConfig{}}, 3 * time.Hour, nil},
		"shortest":                {v1.ServiceAffinityClientIP, seconds(1), time.Second, nil},
		"longest":                 {v1.ServiceAffinityClientIP, seconds(86400), 24 * time.Hour, nil},
		"zero":                    {v1.ServiceAffinityClientIP, seconds(0), 3 * time.Hour, []string{"InvalidField timeoutSeconds 0 86400 10800"}},
		"below zero":              {v1.ServiceAffinityClientIP, seconds(-1), 3 * time.Hour, []string{"timeoutSeconds -1 86400 10800"}},
		"too long":                {v1.ServiceAffinityClientIP, seconds(86401), 3 * time.Hour, []string{"timeoutSeconds 86401 86400 10800"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := parse(
				shopService(func(s *v1.Service) { s.Spec.SessionAffinity, s.Spec.SessionAffinityConfig = c.affinity, c.config }),
			)
			if got.Affinity != c.want {
				t.Errorf("affinity %s, want %s", got.Affinity, c.want)
			}
			wantProblems(t, got.Problems.Reported(), c.problems...)
		})
	}
}

func TestPorts(t *testing.T) {
	for name, c := range map[string]struct {
		ports    []v1.ServicePort
		want     string // protocol:port/nodePort
		problems []string
	}{
		"all protocols": {[]v1.ServicePort{{
			Name: "a", Protocol: v1.ProtocolTCP, Port: 53,
		}, {Name: "b", Protocol: v1.ProtocolUDP, Port: 53}, {Name: "c", Protocol: v1.ProtocolSCTP, Port: 53}},
			"a tcp:53/0, b udp:53/0, c sctp:53/0", nil},
		"absent is TCP":        {[]v1.ServicePort{{Port: 80}}, " tcp:80/0", nil},
		"the limits":           {[]v1.ServicePort{{Name: "a", Port: 1, NodePort: 1}, {Name: "b", Port: 65535, NodePort: 65535}}, "a tcp:1/1, b tcp:65535/65535", nil},
		"unknown protocol":     {[]v1.ServicePort{{Name: "a", Protocol: "tcp", Port: 80}, {Name: "b", Port: 81}}, "b tcp:81/0", []string{`InvalidField spec.ports[0].protocol "tcp" TCP, UDP SCTP not served`}},
		"port 0":               {[]v1.ServicePort{{Name: "a", Port: 0}, {Name: "b", Port: 81}}, "b tcp:81/0", []string{"spec.ports[0].port: 0 1 65535 not served"}},
		"port too large":       {[]v1.ServicePort{{Name: "a", Port: 81}, {Name: "b", Port: 65536}}, "a tcp:81/0", []string{"spec.ports[1].port: 65536 not served"}},
		"node port below zero": {[]v1.ServicePort{{Name: "a", Port: 80, NodePort: -1}}, "a tcp:80/0", []string{"spec.ports[0].nodePort -1 no node port"}},
		"node port too large":  {[]v1.ServicePort{{Name: "a", Port: 80, NodePort: 65536}}, "a tcp:80/0", []string{"spec.ports[0].nodePort 65536"}},
		"none":                 {nil, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := parse(shopService(func(s *v1.Service) { s.Spec.Ports = c.ports }))
			var ports []string
			for _, p := range got.Ports {
				ports = append(ports, fmt.Sprintf("%s %s:%d/%d", p.Name, p.Protocol, p.Port, p.NodePort))
			}
			if text := strings.Join(ports, ", "); text != c.want {
				t.Errorf("ports %q, want %q", text, c.want)
			}
			wantProblems(t, got.Problems.Reported(), c.problems...)
		})
	}
}

func TestSortProblems(t *testing.T) {
	a := cluster.Problem{Reason: cluster.Reason{Name: "A"}, Field: "x", Message: "1"}
	b := cluster.Problem{Reason: cluster.Reason{Name: "A"}, Field: "x", Message: "2"}
	c := cluster.Problem{Reason: cluster.Reason{Name: "A"}, Field: "y", Message: "1"}
	d := cluster.Problem{Reason: cluster.Reason{Name: "B"}, Field: "a", Message: "1"}
	got := cluster.SortProblems([]cluster.Problem{d, c, a, b, a, d})
	if want := []cluster.Problem{a, b, c, d}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestNames(t *testing.T) {
	for _, text := range []string{"", "/", "a", "a/", "/a", "a/b/c", "a//b"} {
		if got, err := cluster.ParseName(text); err == nil {
			t.Errorf("%q is taken for %+v", text, got)
		}
	}
	if got, err := cluster.ParseName("shop/web"); err != nil || got != (cluster.Name{Namespace: "shop", Name: "web"}) ||
		got.String() != "shop/web" {
		t.Errorf("%+v, %v", got, err)
	}
	if text := (cluster.Name{}).String(); text != "" {
		t.Errorf("the zero name is %q", text)
	}
}

func TestWords(t *testing.T) {
	for got, want := range map[fmt.Stringer]string{
		cluster.TCP: "tcp", cluster.UDP: "udp", cluster.SCTP: "sctp", cluster.Protocol(1): "protocol(1)",
		cluster.FamilyOf(netip.MustParseAddr("10.0.0.1")): "ipv4", cluster.FamilyOf(netip.MustParseAddr("fd00::1")): "ipv6",
	} {
		if got.String() != want {
			t.Errorf("%#v is %q, want %q", got, got, want)
		}
	}
}
