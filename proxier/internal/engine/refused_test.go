package engine

import (
	"fmt"
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
	others := strings.ReplaceAll(strings.ReplaceAll(manyServices(4), "{name: s", "{namespace: other, name: s"),
		"10.96.0.", "10.96.9.")
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
		for _, errno := range []syscall.Errno{
			syscall.EINVAL, syscall.ENOSPC, syscall.ENOMEM, syscall.ENOENT, syscall.ESRCH, syscall.EEXIST, syscall.EPERM,
		} {
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
				t.Errorf("%s, %s: reported as refused is not %v: %s", name, errno, c.told, text)
			}
			// An audit finds it as well, and nobody else is to blame for that.
			audited := w.pass(nil, true)
			if text := w.problems(); strings.Contains(text, "KernelRefused") != c.told {
				t.Errorf("%s, %s: after an audit, reported as refused is not %v: %s", name, errno, c.told, text)
			}
			if c.told && (audited.Refused != last.Refused || len(audited.Failures[cluster.Name{}]) > 0) {
				t.Errorf("%s, %s: after an audit %d Services are refused, want %d: %v",
					name, errno, audited.Refused, last.Refused, audited.Error())
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
				t.Errorf("%s, %s: accepted, and still %d wait, problems %q: %v",
					name, errno, last.Pending, w.problems(), last.Error())
			}
			if _, worst := w.goOn(nil, time.Second); worst != [2]int{200, 200} {
				t.Errorf("%s, %s: accepted, and /healthz and /livez %v", name, errno, worst)
			}
		}
	}
}

// CheckHealthOfWhatChanges checks that the Services that change decide on health, however many others are served: it
// turns bad where half of them are refused. One namespace alone does not turn it bad, unless there is no other one.
func CheckHealthOfWhatChanges(t *testing.T, watch func(now func() time.Time) HealthWatch) {
	const many = 100
	of := func(namespace string, n int) (text string) {
		network := map[string]string{"default": "10.96.", "other": "10.97.", "third": "10.98."}[namespace]
		return strings.ReplaceAll(strings.ReplaceAll(manyServices(n), "{name: s", "{namespace: "+namespace+", name: s"),
			"10.96.", network)
	}
	change := func(w *watched, namespace string, from, to int) (names []cluster.Name) {
		for i := from; i < to; i++ {
			names = append(
				names, w.apply([]byte(strings.ReplaceAll(sliceOf(i, 6), "{name: s", "{namespace: "+namespace+", name: s")))...,
			)
		}
		return names
	}
	for name, c := range map[string]struct {
		services map[string]int                    // by namespace
		before   func(w *watched) []cluster.Name   // is refused long before
		after    func(w *watched) []cluster.Name   // is taken after that
		broken   func(w *watched) [][]cluster.Name // is refused, one after the other
		healthz  int
	}{
		"two of two hundred change, of two namespaces, and all fail": {
			services: map[string]int{"default": many, "other": many},
			broken: func(w *watched) [][]cluster.Name {
				return [][]cluster.Name{change(w, "default", 0, 1), change(w, "other", 0, 1)}
			}, healthz: 503},
		"a fifth change, and all fail": {
			services: map[string]int{"default": many, "other": many},
			broken: func(w *watched) [][]cluster.Name {
				return [][]cluster.Name{change(w, "default", 0, 39), change(w, "other", 0, 2)}
			}, healthz: 503},
		"all that change fail, after a tenant's own mistake and many changes": {
			services: map[string]int{"default": many, "other": many, "third": 1},
			before:   func(w *watched) []cluster.Name { return change(w, "third", 0, 1) },
			after:    func(w *watched) []cluster.Name { return change(w, "default", 0, 50) },
			broken: func(w *watched) [][]cluster.Name {
				return [][]cluster.Name{change(w, "default", 50, 60), change(w, "other", 0, 10)}
			}, healthz: 503},
		"all that change fail, and there is one namespace": {
			services: map[string]int{"default": many},
			broken:   func(w *watched) [][]cluster.Name { return [][]cluster.Name{change(w, "default", 0, 2)} }, healthz: 503},
		"one Service is refused, the only one that changes": {
			services: map[string]int{"default": many},
			broken:   func(w *watched) [][]cluster.Name { return [][]cluster.Name{change(w, "default", 0, 1)} }, healthz: 200},
		"all of one namespace fail, and others do not change": {
			services: map[string]int{"default": many, "other": 1},
			broken:   func(w *watched) [][]cluster.Name { return [][]cluster.Name{change(w, "default", 0, 40)} }, healthz: 200},
		"two namespaces have made mistakes, and others' changes were taken since": {
			services: map[string]int{"default": 1, "other": 1, "third": 3},
			before: func(w *watched) []cluster.Name {
				return append(change(w, "default", 0, 1), change(w, "other", 0, 1)...)
			},
			after: func(w *watched) []cluster.Name {
				return change(w, "third", 0, 3)
			},
			broken: func(w *watched) [][]cluster.Name { return nil }, healthz: 200},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScenario(t, 0, 0)
			w := &watched{s, watch(func() time.Time { return s.now })}
			refuse := false
			w.engine.kernel = &brokenKernel{
				Kernel: w.memory, errno: syscall.EINVAL, refuse: func(dataplane.Op) bool { return refuse },
			}
			var names []cluster.Name
			for namespace, n := range c.services {
				names = append(names, w.apply([]byte(of(namespace, n)))...)
			}
			if r, _ := w.goOn(names, time.Minute); r.Pending != 0 {
				t.Fatalf("%d wait at first: %v", r.Pending, r.Error())
			}
			if c.before != nil {
				refuse = true
				w.pass(c.before(w), false)
				refuse = false
				w.now = w.now.Add(time.Millisecond)
				w.pass(c.after(w), false)
				w.now = w.now.Add(time.Millisecond)
			}
			refuse = true
			for _, names := range c.broken(w) {
				if _, worst := w.goOn(names, time.Second); worst != [2]int{200, 200} {
					t.Fatalf("/healthz and /livez %v before a minute is over", worst)
				}
			}
			last, worst := w.goOn(nil, 20*time.Minute)
			if want := [2]int{c.healthz, 200}; worst != want {
				t.Errorf("/healthz and /livez %v, want %v; %d of %d refused", worst, want, last.Refused, last.Served)
			}
			refuse = false
			if _, _ = w.goOn(nil, lastOfOne); w.engine.retries.next() != (time.Time{}) {
				t.Error("accepted, and something is still to be tried again")
			}
			if _, worst := w.goOn(nil, time.Second); worst != [2]int{200, 200} {
				t.Errorf("accepted, and /healthz and /livez %v", worst)
			}
		})
	}
}

// TestAServiceThatIsPutRightIsWell (kubernetes#101506): with the endpoint that was refused its retry and its Problem go
// at once.
func TestAServiceThatIsPutRightIsWell(t *testing.T) {
	w := &watched{newScenario(t, 0, 0), unwatched{}}
	w.engine.kernel = &brokenKernel{
		Kernel: w.memory, errno: syscall.EINVAL,
		refuse: func(op dataplane.Op) bool { return strings.Contains(op.String(), "10.244.1.3:8080") },
	}
	w.goOn(w.apply([]byte(manyServices(4))), time.Hour)
	if text := w.problems(); !strings.Contains(
		text,
		"KernelRefused: create real-server tcp 10.96.0.2:80 -> 10.244.1.3:8080 weight 1: the kernel refuses it: invalid argument; ",
	) {
		t.Errorf("problems %q", text)
	}
	r := w.pass(w.apply([]byte(sliceOf(1, 2))), false)
	if r.Pending != 0 || r.Error() != nil || w.problems() != "" {
		t.Errorf("%d wait, %v, problems %q", r.Pending, r.Error(), w.problems())
	}
}

// restrictedService is a load balancer in both families; ranges are its source ranges.
func restrictedService(ranges string) []byte {
	return fmt.Appendf(nil, `apiVersion: v1
kind: Service
metadata: {name: guarded}
spec:
  {type: LoadBalancer, clusterIP: 10.96.5.5, clusterIPs: [10.96.5.5, "fd00:96::5"], loadBalancerSourceRanges: [%s], ports: [{name: http, port: 80, targetPort: 8080}]}
status: {loadBalancer: {ingress: [{ip: 203.0.113.1}, {ip: "fd00:203::1"}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: guarded-a, labels: {kubernetes.io/service-name: guarded}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [10.244.9.9], nodeName: n2}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: guarded-b, labels: {kubernetes.io/service-name: guarded}}
addressType: IPv6
ports: [{name: http, port: 8080}]
endpoints: [{addresses: ["fd00:244::9"], nodeName: n2}]
`, ranges)
}

// loseGuards takes away what operations with these words would make: rules of a chain as one that flushes it, the rest
// as one that deletes it.
func loseGuards(state *dataplane.State, lost func(dataplane.Op) bool) {
	is := func(o dataplane.Object) bool { return lost(dataplane.Op{Verb: dataplane.Create, Object: o}) }
	for hook := range state.Hooks {
		if is(hook) {
			delete(state.Hooks, hook)
		}
	}
	for id, chain := range state.Chains {
		if is(chain) {
			state.Chains[id] = dataplane.Chain{ID: id}
		}
	}
	for e := range state.Clone().Entries.All() {
		if is(e) {
			state.Entries.Drop(e)
		}
	}
}

// TestSourceRangesFailClosed (kubernetes#105742): a front end that not all clients may reach is not there without the
// rules that say so, whatever they lack, and whether it comes, gets its ranges or loses its rules then; all others are.
// Its Service has a Problem. Once the rules are there it is served at once.
func TestSourceRangesFailClosed(t *testing.T) {
	const ranges, both = `192.0.2.0/24, "fd00:7::/64"`, "ipv4 ipv6"
	fronts := map[string]dataplane.VirtualServerID{
		"ipv4": {Addr: netip.MustParseAddr("203.0.113.1"), Port: 80, Protocol: cluster.TCP},
		"ipv6": {Addr: netip.MustParseAddr("fd00:203::1"), Port: 80, Protocol: cluster.TCP},
	}
	never := func(dataplane.Op) bool { return false }
	for missing, families := range map[string]string{
		"chain ipv4 filter IPVSP-CLIENTS": "ipv4", "chain ipv4 filter IPVSP-FRONT-END": "ipv4",
		"chain ipv4 filter IPVSP-INPUT":     "ipv4",
		"chain ipv4 mangle IPVSP-FRONT-END": "ipv4", "chain ipv4 mangle IPVSP-OUTPUT": "ipv4",
		"chain ipv4 mangle IPVSP-CLIENTS": "ipv4",
		"chain ipv6 filter IPVSP-CLIENTS": "ipv6", "chain ipv6 mangle IPVSP-FRONT-END": "ipv6",
		"chain ipv4": "ipv4", "chain ipv6": "ipv6", "chain": both,
		"hook ipv4 filter INPUT (not by lo": "ipv4", "hook ipv4 filter INPUT": "ipv4", "hook ipv4 mangle OUTPUT": "ipv4",
		"hook ipv6 filter INPUT": "ipv6",
		"entry IPVSP-RESTRICTED": "ipv4", "entry IPVSP-6-RESTRICTED": "ipv6", "set IPVSP-RESTRICTED": "ipv4",
		"set IPVSP-CLIENTS": "ipv4",
	} {
		for _, when := range []string{"new", "ranges added", "taken away", "taken away, found beside passes"} {
			if strings.HasPrefix(missing, "set") && when != "new" {
				continue // a set to which rules lead cannot be taken away
			}
			is := func(op dataplane.Op) bool { return strings.Contains(op.String(), missing) }
			s := newScenario(t, 0, 0)
			w := &watched{s, unwatched{}}
			broken := &brokenKernel{Kernel: w.memory, refuse: is}
			w.engine.kernel = broken
			names := w.apply([]byte(manyServices(3)))
			switch when {
			case "new":
				names = append(names, w.apply(restrictedService(ranges))...)
			case "ranges added":
				names = append(names, w.apply(restrictedService(""))...)
				w.goOn(names, time.Minute)
				names = w.apply(restrictedService(ranges))
			default:
				broken.refuse = never
				names = append(names, w.apply(restrictedService(ranges))...)
				w.goOn(names, time.Minute)
				if len(w.memory.State().VirtualServers) != 7 {
					t.Fatalf("%d virtual servers, want 7", len(w.memory.State().VirtualServers))
				}
				broken.refuse, s.tampered, names = is, true, nil
				loseGuards(w.memory.State(), is)
				if when == "taken away" {
					w.pass(nil, true)
				} else {
					w.round(w.memory.Reader(), dataplane.AllParts, func() {})
					r := w.engine.repair(w.now, s.found)
					for _, row := range r.Changed {
						w.rows[row.Name] = row
					}
				}
			}
			open := func(what string) (n int) {
				state := w.memory.State()
				for family, front := range fronts {
					_, there := state.VirtualServers[front]
					if _, local := state.Addresses[front.Addr]; there != local {
						t.Errorf("%s, %s: %s is served %v, and its address is there %v", what, when, front, there, local)
					}
					if there && strings.Contains(families, family) {
						t.Errorf("%s, %s: %s is served to all", what, when, front)
					}
				}
				return len(state.VirtualServers)
			}
			if names != nil {
				w.pass(names, false)
			}
			open("without " + missing + " at once")
			last, _ := w.goOn(nil, time.Minute)
			if n, want := open("without "+missing), 7-len(strings.Fields(families)); n != want {
				t.Errorf("without %s, %s: there are %d virtual servers, want %d: %v", missing, when, n, want, last.Error())
			}
			if err := last.Error(); err == nil {
				t.Errorf("without %s, %s: no error", missing, when)
			}
			for family, front := range fronts {
				if text := w.problems(); strings.Contains(text, "default/guarded SourceRangesUnguarded: LoadBalancer "+
					front.String()+": it has source ranges") !=
					strings.Contains(families, family) {
					t.Errorf("without %s, %s: the Problems are %s", missing, when, text)
				}
			}
			broken.refuse = never
			mended := lastRetry + time.Second
			if strings.HasPrefix(missing, "entry") {
				mended = lastOfOne // it is this Service's alone
			}
			last, _ = w.goOn(nil, mended)
			if n := len(w.memory.State().VirtualServers); n != 7 || last.Pending != 0 || w.problems() != "" {
				t.Errorf("with %s again, %s: %d virtual servers, want 7; %d wait: %v, problems %s",
					missing, when, n, last.Pending, last.Error(), w.problems())
			}
		}
	}
}

// TestWhatWasTakenIsBounded: while one Service is refused for ever, any number of others come and go.
func TestWhatWasTakenIsBounded(t *testing.T) {
	now, bad := time.Unix(1e9, 0), cluster.Name{Namespace: "default", Name: "bad"}
	rs, known := retries{}, taken{}
	rs.put(now, bad, dataplane.NewTouched(), false)
	names := make([]cluster.Name, 1)
	note := func(namespace string, i int) {
		now = now.Add(time.Second)
		names[0] = cluster.Name{Namespace: namespace, Name: fmt.Sprint(i)}
		known.note(
			now, &operations{ops: make([]dataplane.Op, 1), owner: func(dataplane.Op) cluster.Name { return names[0] }}, rs,
		)
	}
	for i := range 10 * takenAtMost {
		if note("other", i); len(known.last) > takenAtMost {
			t.Fatalf("%d are known, want %d at most", len(known.last), takenAtMost)
		}
	}
	served := func() bool { return false }
	two := func(a, b string) {
		now = now.Add(time.Second)
		rs.put(now, cluster.Name{Namespace: a, Name: "new"}, dataplane.NewTouched(), false)
		rs.put(now, cluster.Name{Namespace: b, Name: "new"}, dataplane.NewTouched(), false)
	}
	if two("a", "a"); rs.mostRefused(&known, served) {
		t.Error("one namespace after another's old mistake is taken for the node's fault")
	}
	if two("b", "c"); !rs.mostRefused(&known, served) {
		t.Error("all that has come since is refused, and it is not the node's fault")
	}
	for i := range 10 {
		note("other", i)
	}
	if rs.mostRefused(&known, served) {
		t.Error("much was taken since, and it is the node's fault")
	}
	clear(rs)
	if note("other", 0); known.last != nil {
		t.Errorf("nothing is refused, and %d are known", len(known.last))
	}
}
