package cluster_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

func ptr[T any](v T) *T { return &v }

// httpSlice returns a slice of TCP port number named port with the endpoints.
func httpSlice(
	name string, family discovery.AddressType, port string, number int32, endpoints ...discovery.Endpoint,
) *discovery.EndpointSlice {
	return &discovery.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "shop", Name: name},
		AddressType: family,
		Ports:       []discovery.EndpointPort{{Name: &port, Port: &number, Protocol: ptr(v1.ProtocolTCP)}},
		Endpoints:   endpoints,
	}
}

// endpoint returns one at addr without conditions and node, after the changes.
func endpoint(addr string, changes ...func(*discovery.Endpoint)) discovery.Endpoint {
	e := discovery.Endpoint{Addresses: []string{addr}}
	for _, change := range changes {
		change(&e)
	}
	return e
}

func on(node string) func(*discovery.Endpoint) {
	return func(e *discovery.Endpoint) { e.NodeName = &node }
}

// is sets the conditions ready, serving and terminating: t, f, or anything else for one that is not set.
func is(conditions string) func(*discovery.Endpoint) {
	return func(e *discovery.Endpoint) {
		for i, to := range []**bool{&e.Conditions.Ready, &e.Conditions.Serving, &e.Conditions.Terminating} {
			switch conditions[i] {
			case 't':
				*to = ptr(true)
			case 'f':
				*to = ptr(false)
			}
		}
	}
}

// text returns "address:port R S T L|R", with a dot for what is not so.
func text(endpoints []cluster.Endpoint) string {
	letter := func(b bool, c string) string {
		if b {
			return c
		}
		return "."
	}
	var all []string
	for _, e := range endpoints {
		where := letter(e.Local, "L")
		if e.Remote {
			where += "O"
		}
		all = append(all, fmt.Sprintf("%s:%d %s%s%s%s", e.Addr, e.Port, letter(e.Ready, "R"), letter(e.Serving, "S"),
			letter(e.Terminating, "T"), where))
	}
	return strings.Join(all, ", ")
}

func TestEndpointConditionsAndAddresses(t *testing.T) {
	v4, v6 := discovery.AddressTypeIPv4, discovery.AddressTypeIPv6
	type slices = []*discovery.EndpointSlice
	unnamed := httpSlice("a", v4, "", 8080, endpoint("10.0.0.1"))
	noPort := httpSlice("a", v4, "http", 1, endpoint("10.0.0.1"))
	noPort.Ports[0].Port = nil
	udp := httpSlice("a", v4, "http", 8080, endpoint("10.0.0.1"))
	udp.Ports[0].Protocol = ptr(v1.ProtocolUDP)
	implied := httpSlice("a", v4, "http", 8080, endpoint("10.0.0.1"))
	implied.Ports[0].Protocol = nil
	two := httpSlice("a", v4, "http", 8080, endpoint("10.0.0.1"))
	two.Ports = append(two.Ports, discovery.EndpointPort{Name: ptr("admin"), Port: ptr[int32](9090)})

	for name, c := range map[string]struct {
		slices   slices
		want     string
		problems []string
	}{
		"none":                                  {nil, "", nil},
		"no conditions":                         {slices{httpSlice("a", v4, "http", 8080, endpoint("10.0.0.1"))}, "10.0.0.1:8080 RS..", nil},
		"conditions that are set":               {slices{httpSlice("a", v4, "http", 8080, endpoint("10.0.0.1", is("ttf")))}, "10.0.0.1:8080 RS..", nil},
		"not ready":                             {slices{httpSlice("a", v4, "http", 8080, endpoint("10.0.0.1", is("fff")))}, "10.0.0.1:8080 ....", nil},
		"not ready, serving not set":            {slices{httpSlice("a", v4, "http", 8080, endpoint("10.0.0.1", is("f..")))}, "10.0.0.1:8080 .S..", nil},
		"terminating and serving":               {slices{httpSlice("a", v4, "http", 8080, endpoint("10.0.0.1", is("ftt")))}, "10.0.0.1:8080 .ST.", nil},
		"terminating":                           {slices{httpSlice("a", v4, "http", 8080, endpoint("10.0.0.1", is("fft")))}, "10.0.0.1:8080 ..T.", nil},
		"ready although terminating":            {slices{httpSlice("a", v4, "http", 8080, endpoint("10.0.0.1", is("ttt")))}, "10.0.0.1:8080 RST.", nil},
		"local and remote":                      {slices{httpSlice("a", v4, "http", 8080, endpoint("10.0.0.1", on("n1")), endpoint("10.0.0.2", on("n2")))}, "10.0.0.1:8080 RS.L, 10.0.0.2:8080 RS..O", nil},
		"sorted by number, not by text":         {slices{httpSlice("a", v4, "http", 8080, endpoint("10.0.0.10"), endpoint("10.0.0.9"))}, "10.0.0.9:8080 RS.., 10.0.0.10:8080 RS..", nil},
		"dual stack":                            {slices{httpSlice("a", v6, "http", 8080, endpoint("fd00::1")), httpSlice("b", v4, "http", 8080, endpoint("10.0.0.1"))}, "10.0.0.1:8080 RS.., fd00::1:8080 RS..", nil},
		"each slice has its number":             {slices{httpSlice("a", v4, "http", 8080, endpoint("10.0.0.1")), httpSlice("b", v4, "http", 8081, endpoint("10.0.0.1"))}, "10.0.0.1:8080 RS.., 10.0.0.1:8081 RS..", nil},
		"another port's name":                   {slices{httpSlice("a", v4, "admin", 8080, endpoint("10.0.0.1"))}, "", nil},
		"a port without name":                   {slices{unnamed}, "", nil},
		"a port without number":                 {slices{noPort}, "", nil},
		"port 0":                                {slices{httpSlice("a", v4, "http", 0, endpoint("10.0.0.1"))}, "", nil},
		"port too large":                        {slices{httpSlice("a", v4, "http", 65536, endpoint("10.0.0.1"))}, "", nil},
		"another protocol":                      {slices{udp}, "", nil},
		"a protocol that is not set is TCP":     {slices{implied}, "10.0.0.1:8080 RS..", nil},
		"two ports":                             {slices{two}, "10.0.0.1:8080 RS..", nil},
		"host names":                            {slices{httpSlice("a", discovery.AddressTypeFQDN, "http", 8080, endpoint("a.example"))}, "", nil},
		"no addresses":                          {slices{httpSlice("a", v4, "http", 8080, discovery.Endpoint{}, endpoint("10.0.0.1"))}, "10.0.0.1:8080 RS..", nil},
		"only the first address counts":         {slices{httpSlice("a", v4, "http", 8080, discovery.Endpoint{Addresses: []string{"10.0.0.1", "10.0.0.2"}})}, "10.0.0.1:8080 RS..", nil},
		"twice in one slice":                    {slices{httpSlice("a", v4, "http", 8080, endpoint("10.0.0.1"), endpoint("10.0.0.1"))}, "10.0.0.1:8080 RS..", nil},
		"terminating in one, ready in another":  {slices{httpSlice("a", v4, "http", 8080, endpoint("10.0.0.1", is("ftt"))), httpSlice("b", v4, "http", 8080, endpoint("10.0.0.1"))}, "10.0.0.1:8080 RS..", nil},
		"ready in one, terminating in another":  {slices{httpSlice("a", v4, "http", 8080, endpoint("10.0.0.1")), httpSlice("b", v4, "http", 8080, endpoint("10.0.0.1", is("ftt")))}, "10.0.0.1:8080 RS..", nil},
		"not ready outdoes terminating":         {slices{httpSlice("a", v4, "http", 8080, endpoint("10.0.0.1", is("ttt"))), httpSlice("b", v4, "http", 8080, endpoint("10.0.0.1", is("fff")))}, "10.0.0.1:8080 ....", nil},
		"serving outdoes not serving":           {slices{httpSlice("a", v4, "http", 8080, endpoint("10.0.0.1", is("fft"))), httpSlice("b", v4, "http", 8080, endpoint("10.0.0.1", is("ftt")))}, "10.0.0.1:8080 .ST.", nil},
		"local outdoes remote":                  {slices{httpSlice("a", v4, "http", 8080, endpoint("10.0.0.1", on("n2"))), httpSlice("b", v4, "http", 8080, endpoint("10.0.0.1", on("n1")))}, "10.0.0.1:8080 RS.L", nil},
		"a bad address costs only its endpoint": {slices{httpSlice("a", v4, "http", 8080, endpoint("ten"), endpoint("10.0.0.1"))}, "10.0.0.1:8080 RS..", []string{`InvalidField endpointslice a endpoints[0] "ten" IPv4 left out`}},
		"the other family":                      {slices{httpSlice("a", v4, "http", 8080, endpoint("fd00::1"))}, "", []string{"endpoints[0] fd00::1 IPv4"}},
		"limited broadcast":                     {slices{httpSlice("a", v4, "http", 8080, endpoint("255.255.255.255"))}, "", []string{"255.255.255.255"}},
		"loopback":                              {slices{httpSlice("a", v4, "http", 8080, endpoint("127.0.0.1"))}, "", []string{"127.0.0.1"}},
		"unspecified":                           {slices{httpSlice("a", v6, "http", 8080, endpoint("::"))}, "", []string{"::"}},
		"multicast":                             {slices{httpSlice("a", v6, "http", 8080, endpoint("ff02::1"))}, "", []string{"ff02::1"}},
		"IPv6 link-local":                       {slices{httpSlice("a", v6, "http", 8080, endpoint("fe80::1"))}, "", []string{"fe80::1"}},
		"IPv4 link-local":                       {slices{httpSlice("a", v4, "http", 8080, endpoint("169.254.1.1"))}, "169.254.1.1:8080 RS..", nil},
		"a zone":                                {slices{httpSlice("a", v6, "http", 8080, endpoint("fe80::1%eth0"))}, "", []string{"fe80::1%eth0"}},
		"IPv4 in IPv6":                          {slices{httpSlice("a", v6, "http", 8080, endpoint("::ffff:10.0.0.1"))}, "", []string{"::ffff:10.0.0.1"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := parse(shopService(), c.slices...)
			if len(got.Ports) != 1 {
				t.Fatalf("%d ports, want 1", len(got.Ports))
			}
			if text := text(got.Ports[0].Endpoints); text != c.want {
				t.Errorf("endpoints %q, want %q", text, c.want)
			}
			wantProblems(t, got.Problems.Reported(), c.problems...)
		})
	}
}

// TestPortsAreFoundByName: a port without name takes slices' ports without name, and one slice serves several ports.
func TestPortsAreFoundByName(t *testing.T) {
	both := httpSlice("a", discovery.AddressTypeIPv4, "http", 8080, endpoint("10.0.0.1"), endpoint("ten"))
	both.Ports = append(
		both.Ports, discovery.EndpointPort{Name: ptr("dns"), Port: ptr[int32](5353), Protocol: ptr(v1.ProtocolUDP)},
	)
	got := parse(shopService(func(s *v1.Service) {
		s.Spec.Ports = append(s.Spec.Ports, v1.ServicePort{Name: "dns", Protocol: v1.ProtocolUDP, Port: 53})
	}), both)
	if http, dns := text(got.Ports[0].Endpoints), text(got.Ports[1].Endpoints); http != "10.0.0.1:8080 RS.." ||
		dns != "10.0.0.1:5353 RS.." {
		t.Errorf("http has %q, dns has %q", http, dns)
	}
	wantProblems(t, got.Problems.Reported(), "endpoints[1] ten") // once, although two ports met it

	for name, port := range map[string]*string{"empty": ptr(""), "absent": nil} {
		nameless := httpSlice("a", discovery.AddressTypeIPv4, "", 8080, endpoint("10.0.0.1"))
		nameless.Ports[0].Name = port
		got := parse(shopService(func(s *v1.Service) { s.Spec.Ports[0].Name = "" }), nameless)
		if text := text(got.Ports[0].Endpoints); text != "10.0.0.1:8080 RS.." {
			t.Errorf("a slice's port with %s name gives %q", name, text)
		}
	}
}

// TestOrderOfSlicesDoesNotCount: the API promises no order, of slices or of endpoints in them.
func TestOrderOfSlicesDoesNotCount(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		var all []*discovery.EndpointSlice
		for i := range 1 + r.IntN(4) {
			s := httpSlice(fmt.Sprint("s", i), discovery.AddressTypeIPv4, "http", 8080)
			for range r.IntN(6) {
				conditions := string([]byte{"tf."[r.IntN(3)], "tf."[r.IntN(3)], "tf."[r.IntN(3)]})
				s.Endpoints = append(s.Endpoints, endpoint(fmt.Sprint("10.0.0.", 1+r.IntN(4)), is(conditions),
					on(fmt.Sprint("n", 1+r.IntN(2)))))
			}
			all = append(all, s)
		}
		want := text(parse(shopService(), all...).Ports[0].Endpoints)
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		for _, s := range all {
			r.Shuffle(len(s.Endpoints), func(i, j int) { s.Endpoints[i], s.Endpoints[j] = s.Endpoints[j], s.Endpoints[i] })
		}
		if got := text(parse(shopService(), all...).Ports[0].Endpoints); got != want {
			t.Fatalf("seed %d: %q in one order, %q in another", seed, want, got)
		}
	}
}
