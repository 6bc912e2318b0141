package engine

import (
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// HealthWatch is what makes /healthz and /livez of Reports. This package does not know it: a test of package
// engine_test hands one in.
type HealthWatch interface {
	Observe(Report)
	// Answers returns the status of both.
	Answers() (healthz, livez int)
}

// unwatched is a node whose health nobody asks for.
type unwatched struct{}

func (unwatched) Observe(Report)                { /* nobody looks */ }
func (unwatched) Answers() (healthz, livez int) { return 0, 0 }

// watched is a scenario whose passes a HealthWatch sees.
type watched struct {
	*scenario
	health HealthWatch
}

func (w *watched) pass(names []cluster.Name, audit bool) Report {
	r := w.engine.Pass(w.now, names, audit)
	for _, row := range r.Changed {
		w.rows[row.Name] = row
	}
	w.health.Observe(r)
	return r
}

// goOn carries out what comes and each retry that is due until the time is over, and looks at both answers all along.
func (w *watched) goOn(names []cluster.Name, lasts time.Duration) (last Report, worst [2]int) {
	end := w.now.Add(lasts)
	for {
		last = w.pass(names, false)
		names = nil
		due := w.engine.retries.next()
		if due.IsZero() || due.After(end) {
			due = end
		}
		w.now = due
		healthz, livez := w.health.Answers()
		worst[0], worst[1] = max(worst[0], healthz), max(worst[1], livez)
		if !w.now.Before(end) {
			return last, worst
		}
	}
}

// CheckHealthIsTheNodes checks that what the kernel refuses of Services is their Problem, which touches health only
// where it is so much that it must be the node. What all Services stand on does.
func CheckHealthIsTheNodes(t *testing.T, watch func(now func() time.Time) HealthWatch) {
	of := func(words ...string) func(dataplane.Op) bool {
		return func(op dataplane.Op) bool {
			for _, word := range words {
				if strings.Contains(op.String(), word) {
					return true
				}
			}
			return false
		}
	}
	others := strings.ReplaceAll(strings.ReplaceAll(manyServices(4), "name: s", "namespace: other, name: s"), "10.96.0.", "10.96.9.")
	own := strings.Replace(manyServices(4), "[10.244.1.3], nodeName: n2", "[10.244.1.3], nodeName: n1", 1)
	for name, c := range map[string]struct {
		refuse         func(dataplane.Op) bool
		healthz, livez int
		told           bool
	}{
		"nothing":                       {of("nothing at all"), 200, 200, false},
		"an endpoint":                   {of("10.244.1.3:8080"), 200, 200, true},
		"a Service":                     {of("10.96.0.2:80"), 200, 200, true},
		"a Service's address":           {of("address 10.96.0.2"), 200, 200, true},
		"an address's entry":            {of("entry IPVSP-VIP 10.96.0.2"), 200, 200, true},
		"an endpoint's entry":           {of("entry IPVSP-HAIRPIN 10.244.1.3"), 200, 200, true},
		"all Services of one namespace": {of("10.96.0."), 200, 200, true},
		"half of all, of two namespaces": {
			of("10.96.0.1:", "10.96.0.2:", "10.96.0.3:", "10.96.9.1:"), 503, 200, true},
		"a chain": {of("chain ipv4 filter"), 503, 503, false},
		"a set":   {of("set IPVSP-VIP"), 503, 503, false},
		"a link":  {of("link "), 503, 503, false},
	} {
		for _, errno := range []syscall.Errno{syscall.EINVAL, syscall.ENOSPC, syscall.ENOMEM, syscall.ENOENT, syscall.ESRCH, syscall.EEXIST, syscall.EPERM} {
			s := newScenario(t, 0, 0)
			w := &watched{s, watch(func() time.Time { return s.now })}
			broken := &brokenKernel{Kernel: w.memory, errno: errno, refuse: c.refuse}
			w.engine.kernel = broken
			names := append(w.apply([]byte(own)), w.apply([]byte(others))...)
			last, worst := w.goOn(names, time.Hour)
			if worst != [2]int{c.healthz, c.livez} {
				t.Errorf("%s, %s: /healthz and /livez %v, want %d and %d: %v", name, errno, worst, c.healthz, c.livez, last.Error())
			}
			if text := w.problems(); strings.Contains(text, "KernelRefused") != c.told {
				t.Errorf("%s, %s: told as refused is not %v: %s", name, errno, c.told, text)
			}
			// An audit finds it as well, and nobody else is to blame for that.
			audited := w.pass(nil, true)
			if text := w.problems(); strings.Contains(text, "KernelRefused") != c.told {
				t.Errorf("%s, %s: after an audit, told as refused is not %v: %s", name, errno, c.told, text)
			}
			if c.told && (audited.Refused != last.Refused || len(audited.Failures[cluster.Name{}]) > 0) {
				t.Errorf("%s, %s: after an audit %d Services are refused, want %d: %v", name, errno, audited.Refused, last.Refused, audited.Error())
			}
			if _, worst := w.goOn(nil, time.Hour); worst != [2]int{c.healthz, c.livez} {
				t.Errorf("%s, %s: after an audit /healthz and /livez %v, want %d and %d", name, errno, worst, c.healthz, c.livez)
			}
			broken.refuse = of("nothing at all")
			mended := lastOfOne
			if !c.told {
				mended = lastRetry + firstRetry
			}
			if last, _ := w.goOn(nil, mended); last.Pending != 0 || w.problems() != "" {
				t.Errorf("%s, %s: mended, and still %d wait, problems %q: %v", name, errno, last.Pending, w.problems(), last.Error())
			}
			if _, worst := w.goOn(nil, time.Second); worst != [2]int{200, 200} {
				t.Errorf("%s, %s: mended, and /healthz and /livez %v", name, errno, worst)
			}
		}
	}
}

// TestAServiceThatIsPutRightIsWell (kubernetes#101506): with the endpoint that was refused its retry goes, and what is
// told of it, at once.
func TestAServiceThatIsPutRightIsWell(t *testing.T) {
	w := &watched{newScenario(t, 0, 0), unwatched{}}
	w.engine.kernel = &brokenKernel{Kernel: w.memory, errno: syscall.EINVAL, refuse: func(op dataplane.Op) bool { return strings.Contains(op.String(), "10.244.1.3:8080") }}
	w.goOn(w.apply([]byte(manyServices(4))), time.Hour)
	if text := w.problems(); !strings.Contains(text, "KernelRefused: create real-server tcp 10.96.0.2:80 -> 10.244.1.3:8080 weight 1: the kernel refuses it: invalid argument; ") {
		t.Errorf("problems %q", text)
	}
	r := w.pass(w.apply([]byte(sliceOf(1, 2))), false)
	if r.Pending != 0 || r.Error() != nil || w.problems() != "" {
		t.Errorf("%d wait, %v, problems %q", r.Pending, r.Error(), w.problems())
	}
}

// TestSourceRangesFailClosed (kubernetes#105742): a front end that not all clients may reach is not there without the
// rules that say so, whatever they lack; all others are. Once the rules are there it is served at once.
func TestSourceRangesFailClosed(t *testing.T) {
	const restricted = `apiVersion: v1
kind: Service
metadata: {name: guarded}
spec:
  {type: LoadBalancer, clusterIP: 10.96.5.5, clusterIPs: [10.96.5.5], loadBalancerSourceRanges: [192.0.2.0/24], ports: [{name: http, port: 80, targetPort: 8080}]}
status: {loadBalancer: {ingress: [{ip: 203.0.113.1}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: guarded-a, labels: {kubernetes.io/service-name: guarded}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [10.244.9.9], nodeName: n2}]
`
	front := dataplane.VirtualServerID{Addr: netip.MustParseAddr("203.0.113.1"), Port: 80, Protocol: cluster.TCP}
	for _, missing := range []string{
		"chain ipv4 filter IPVSP-CLIENTS", "chain ipv4 filter IPVSP-FRONT-END", "chain ipv4 filter IPVSP-INPUT", "chain ipv4 mangle IPVSP-FRONT-END", "chain ipv4",
		"hook ipv4 filter INPUT (not by lo", "hook ipv4 filter INPUT", "hook ipv4 mangle OUTPUT", "entry IPVSP-RESTRICTED", "set IPVSP-RESTRICTED", "set IPVSP-CLIENTS",
	} {
		w := &watched{newScenario(t, 0, 0), unwatched{}}
		broken := &brokenKernel{Kernel: w.memory, refuse: func(op dataplane.Op) bool { return strings.Contains(op.String(), missing) }}
		w.engine.kernel = broken
		last, _ := w.goOn(append(w.apply([]byte(restricted)), w.apply([]byte(manyServices(3)))...), time.Minute)
		state := w.memory.State()
		if _, there := state.VirtualServers[front]; there {
			t.Errorf("without %s the front end is served to all: %v", missing, last.Error())
		}
		if err := last.Error(); err == nil || !strings.Contains(err.Error(), "source ranges") && !strings.Contains(missing, "set") {
			t.Errorf("without %s it is not said why it is not served: %v", missing, err)
		}
		if len(state.VirtualServers) != 4 {
			t.Errorf("without %s there are %d other virtual servers, want 4: %v", missing, len(state.VirtualServers), last.Error())
		}
		broken.refuse = func(dataplane.Op) bool { return false }
		mended := lastRetry + time.Second
		if strings.HasPrefix(missing, "entry") {
			mended = lastOfOne // it is this Service's alone
		}
		last, _ = w.goOn(nil, mended)
		if _, there := w.memory.State().VirtualServers[front]; !there || last.Pending != 0 {
			t.Errorf("with %s again: served %v, %d wait: %v", missing, there, last.Pending, last.Error())
		}
	}
}
