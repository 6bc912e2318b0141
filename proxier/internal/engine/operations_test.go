package engine

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// reasons returns the operations but for those of the foundation, each with its cause, owner and result.
func reasons(r Report) (lines []string) {
	for o := range r.Operations() {
		if o.Op.Object.Kind() < dataplane.KindVirtualServer {
			continue
		}
		line := fmt.Sprintf("%s: %s of %s", o.Cause, o.Op, o.Owner())
		if o.Err != nil {
			line += " fails"
		}
		lines = append(lines, line)
	}
	return lines
}

// TestOperationsSayWhy: each operation has its cause, its Service and its result, whatever brought it.
func TestOperationsSayWhy(t *testing.T) {
	s := newScenario(t, 0, 0)
	broken := &brokenKernel{Kernel: s.memory, refuse: func(dataplane.Op) bool { return false }}
	s.engine.kernel = broken
	state := s.memory.State()
	web := dataplane.VirtualServerID{Addr: netip.MustParseAddr("10.96.0.1"), Port: 80, Protocol: cluster.TCP}
	endpoint := func(n int) dataplane.RealServerObject {
		return dataplane.RealServerObject{VirtualServer: web, RealServer: dataplane.RealServer{
			Addr: netip.MustParseAddr(fmt.Sprintf("10.244.0.%d", n)), Port: 8080,
		}}
	}
	drop := func(o dataplane.Object) {
		s.tampered = true
		state.Apply(dataplane.Op{Verb: dataplane.Delete, Object: o})
	}
	pass := func(dirty []cluster.Name, audit bool) Report {
		r := s.engine.pass(s.now, dirty, audit, s.found)
		s.found = nil
		return r
	}
	wants := func(what string, r Report, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, reasons(r)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	wants("a start", pass(s.apply([]byte(strings.ReplaceAll(manyServices(1), "s0", "web")+"---\n"+twoEndpoints)), false),
		"start: create virtual-server tcp 10.96.0.1:80 rr of default/web",
		"start: create real-server tcp 10.96.0.1:80 -> 10.244.0.2:8080 weight 1 of default/web",
		"start: create real-server tcp 10.96.0.1:80 -> 10.244.0.1:8080 weight 1 of default/web",
		"start: create address 10.96.0.1 of default/web")

	drop(endpoint(1))
	drop(dataplane.Address{Addr: web.Addr})
	s.round(s.memory.Reader(), dataplane.AllParts, func() {})
	wants("a round", pass(nil, false),
		"drift: create real-server tcp 10.96.0.1:80 -> 10.244.0.1:8080 weight 1 of default/web",
		"drift: create address 10.96.0.1 of default/web")

	drop(endpoint(1))
	broken.refuse = func(op dataplane.Op) bool { return strings.Contains(op.String(), "10.244.0.1") }
	wants("a whole audit", pass(nil, true),
		"drift: create real-server tcp 10.96.0.1:80 -> 10.244.0.1:8080 weight 1 of default/web fails")
	broken.refuse = func(dataplane.Op) bool { return false }
	s.now = s.now.Add(time.Minute)
	wants("a retry", pass(nil, false), "retry: create real-server tcp 10.96.0.1:80 -> 10.244.0.1:8080 weight 1 of default/web")

	s.memory.Busy[dataplane.RealServerID{VirtualServer: web, Endpoint: netip.MustParseAddrPort("10.244.0.1:8080")}] = 1
	wants("a change", pass(
		s.apply([]byte(strings.Replace(twoEndpoints, "{addresses: [10.244.0.1], nodeName: n2}, ", "", 1))), false,
	),
		"change: update real-server tcp 10.96.0.1:80 -> 10.244.0.1:8080 weight 0 of default/web")
	clear(s.memory.Busy)
	s.now = s.now.Add(time.Minute)
	r := pass(nil, false)
	wants("the end of a drain", r, "timer: delete real-server tcp 10.96.0.1:80 -> 10.244.0.1:8080 weight 0 of default/web")
	kept := r
	r.release()
	if n := len(reasons(kept)); n != 0 {
		t.Errorf("a Report that somebody keeps keeps %d operations", n)
	}
}

const twoEndpoints = `apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-a, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [10.244.0.1], nodeName: n2}, {addresses: [10.244.0.2], nodeName: n2}]
`

// DriftedServices is how many Services CheckDrift has.
const DriftedServices = 20

// CheckDrift shows observers what a start does, and then the repair of DriftedServices virtual servers that somebody
// has taken away, each with 5 real servers.
func CheckDrift(t *testing.T, observers ...Observer) {
	s := newScenario(t, 0, 0)
	s.memory.AfterEach = nil
	show := func(r Report) {
		if r.Error() != nil || r.Backlog > 0 {
			t.Fatal(r.Error(), r.Backlog)
		}
		for _, o := range observers {
			o.Observe(r)
		}
	}
	show(s.engine.Pass(s.now, s.apply([]byte(manyServices(DriftedServices))), false))
	for _, id := range slices.Collect(maps.Keys(s.memory.State().VirtualServers)) {
		s.memory.State().DropVirtualServer(id)
	}
	s.round(s.memory.Reader(), dataplane.AllParts, func() {})
	show(s.engine.repair(s.now, s.found))
	show(s.engine.Pass(s.now, nil, true))
}
