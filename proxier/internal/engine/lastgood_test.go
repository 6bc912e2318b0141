package engine

import (
	"strings"
	"testing"
)

// TestLastGoodIsOfThePort: what is in force stays with its port, whatever ports the Service has beside it, such as one
// that cannot be served, and whether the engine remembers or only the kernel does.
func TestLastGoodIsOfThePort(t *testing.T) {
	const service = `apiVersion: v1
kind: Service
metadata: {name: web, annotations: {ipvs-proxier.io/scheduler: "SCHEDULERS"}}
spec: {clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1], ports: [PORTS]}
`
	const (
		a, b     = "{name: a, port: 80}", "{name: b, port: 443}"
		datagram = "{name: u, port: 443, protocol: UDP}"
		noServed = "{name: x, port: 443, protocol: ICMP}"
	)
	list := func(ports ...string) string { return strings.Join(ports, ", ") }
	for name, later := range map[string]string{
		"the same":                              list(a, b, datagram),
		"behind one that is not served":         list(noServed, a, b, datagram),
		"between some that are not served":      list(a, noServed, noServed, b, noServed, datagram),
		"in another order":                      list(datagram, b, a),
		"in another order, with one not served": list(datagram, noServed, b, a),
	} {
		for _, restarts := range []bool{false, true} {
			s := newScenario(t, 0, 0)
			apply := func(schedulers, ports string) {
				s.converge(s.apply([]byte(strings.NewReplacer("SCHEDULERS", schedulers, "PORTS", ports).Replace(service))), false)
			}
			apply("a=lc,b=sed,u=sh", list(a, b, datagram))
			if restarts {
				s.restart()
			}
			apply("a=fastest", later)
			got := s.memory.State().ServiceText()
			for _, want := range []string{"tcp 10.96.0.1:80 lc", "tcp 10.96.0.1:443 sed", "udp 10.96.0.1:443 sh"} {
				if !strings.Contains(got, want) {
					t.Errorf("%s, restart %v: want %s, got\n%s", name, restarts, want, got)
				}
			}
		}
	}
}
