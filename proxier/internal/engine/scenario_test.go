package engine

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/ipvs-proxier/ipvs-proxier/internal/golden"
	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/annotation"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/iptables"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// Scenarios are the files testdata/*.txtar: manifests in, kernel state out. The files of an archive are steps in their
// compileInput; the first word of a name says what it does, the rest is for people.
//
//	apply     manifests that come, or take the place of those with the same name
//	delete    lines "Service NAME" or "EndpointSlice NAME", in the namespace default if there is no other
//	do        commands, below
//	want      what Services have in the kernel once nothing is left to be done (State.ServiceText)
//	problems  the Problems of all Services, one a line
//	flows     the flows that connection tracking remembers, one a line
//	health    the health check ports, and the Services without an endpoint here, one a line
//
// Faults are on: one call and one operation in ten fails, passes look at one to five Services only, and still the
// kernel must get there. TEST_SEED repeats a run; UPDATE_GOLDEN=1 writes want and problems anew. The archive's comment
// may hold the line "faults: off" for scenarios that count operations, and "walk: off" where what is wanted depends on
// the past.
//
// Commands:
//
//	advance DURATION                  time passes
//	audit                             the kernel is read and compared
//	restart                           a new engine on the same kernel
//	addresses ADDRESS[/BITS]...       the node's own addresses become these, in networks of so many bits
//	listen PROTOCOL ADDRESS:PORT...   the node's sockets become these
//	nat FAMILY RULE                   a rule of somebody else's comes in nat ahead of ours, with its -A CHAIN; without one all go
//	unread WORDS                      another program's rules cannot be read; without words they can
//	busy PROTOCOL VIP:PORT ENDPOINT N connections of a real server
//	drop entry SET ENTRY-TYPE ENTRY   somebody tampers: also drop address A, drop link L, drop vs PROTOCOL VIP:PORT,
//	                                  drop rs PROTOCOL VIP:PORT ENDPOINT, weight PROTOCOL VIP:PORT ENDPOINT N
//	add entry SET ENTRY-TYPE ENTRY    somebody adds one
//	flush FAMILY TABLE CHAIN          somebody flushes a chain
//	send CLIENT:PORT TO:PORT          a UDP datagram, which connection tracking remembers
//	track PROTOCOL VIP CLIENT ENDPOINT   a connection, each with its port, which connection tracking remembers
//	answer PROTOCOL VIP CLIENT ENDPOINT  the same, begun for connection tracking by a packet of the endpoint
//	foreign PROTOCOL VIP:PORT SCHED   somebody makes a virtual server
//	mode address|route                restart with this VIP mode
//	refuse WORDS [| WORDS]            from now on the kernel refuses operations whose text has these or those words;
//	                                  without words none (needs faults: off). A change is over when nothing is tried
//	                                  again for 10 s
//	operations N                      the last change took N operations (needs faults: off)
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios in testdata: %v", err)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			if golden.Update() {
				newScenario(t, 0, 0).run(archive, true)
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			newScenario(t, 0, 0).run(archive, false)
			beside := newScenario(t, 0, 0)
			beside.beside = true
			beside.run(archive, false)
			if !has(archive, "faults: off") {
				for i := range 6 {
					s := newScenario(t, 0.1, anySeed(t))
					s.beside = i%2 == 1
					s.run(archive, false)
				}
			}
		})
	}
}

func has(a *txtar.Archive, line string) bool {
	return slices.Contains(strings.Split(string(a.Comment), "\n"), line)
}

func anySeed(t *testing.T) uint64 {
	t.Helper()
	if text := os.Getenv("TEST_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("TEST_SEED: %v", err)
		}
		return seed
	}
	return rand.Uint64()
}

// objects are what the API, or a manifests directory, holds. It is the engine's lister.
type objects struct {
	services map[cluster.Name]*v1.Service
	slices   map[cluster.Name]*discovery.EndpointSlice
	nodes    map[string]*v1.Node
	version  uint64
}

func (o objects) Node() *v1.Node { return o.nodes["n1"] }

func (o objects) NodeAt(addr netip.Addr) string {
	for _, name := range slices.Sorted(maps.Keys(o.nodes)) {
		node := o.nodes[name]
		if name == "n1" {
			continue
		}
		for _, a := range node.Status.Addresses {
			if a.Address == addr.String() {
				return name
			}
		}
	}
	return ""
}

func (o objects) NodesVersion() uint64 { return o.version }

func (o objects) NodeWeight(node string) (uint32, bool) {
	key, _ := annotation.Lookup(annotation.Node, annotation.Weight)
	if o.nodes[node] == nil {
		return 0, false
	}
	values, err := key.Parse(o.nodes[node].Annotations[key.String()])
	if err != nil {
		return 0, false
	}
	return annotation.ParseWeight(values[annotation.AllPorts]), true
}

func (o objects) NodeWeightsVersion() uint64 { return o.version }

func (o objects) Service(name cluster.Name) *v1.Service { return o.services[name] }

func (o objects) Slices(of cluster.Name) []*discovery.EndpointSlice {
	var found []*discovery.EndpointSlice
	for name, s := range o.slices {
		if name.Namespace == of.Namespace && s.Labels[discovery.LabelServiceName] == of.Name {
			found = append(found, s)
		}
	}
	slices.SortFunc(found, func(a, b *discovery.EndpointSlice) int { return cmp.Compare(a.Name, b.Name) })
	return found
}

func (o objects) Size(name cluster.Name) (service, slices int) {
	if s := o.services[name]; s != nil {
		service = s.Size()
	}
	for _, s := range o.Slices(name) {
		slices += s.Size()
	}
	return service, slices
}

func (o objects) Names() []cluster.Name {
	return slices.SortedFunc(maps.Keys(o.services), cluster.Name.Compare)
}

func (o objects) clone() objects {
	return objects{maps.Clone(o.services), maps.Clone(o.slices), maps.Clone(o.nodes), o.version}
}

// scenario is an engine on a kernel in memory, with a clock that only the test moves.
type scenario struct {
	limit int // of a pass, 0 for what it is
	piece int // of a big Service, 0 for what it is
	// beside makes all Services beside the passes; nil is that passes make them.
	runner *stepRunner

	t       testing.TB
	objects *objects
	memory  *kernel.Memory
	faulty  *kernel.Faulty
	trace   *trace
	random  *rand.Rand
	engine  *Engine
	now     time.Time
	rows    map[cluster.Name]Row
	node    []cluster.Problem // of this Node
	ops     int
	foreign map[dataplane.VirtualServerID]bool
	nat     []string // rules of others
	// passing says that converge makes a pass.
	passing bool
	// open are front ends of which a pass has reported that it could not take them down.
	open map[dataplane.VirtualServerID]struct{}
	// refused are words of operations that the kernel refuses, "" is none.
	refused string
	// mode is what makes VIPs local.
	mode dataplane.VIPMode
	// tampered says that the kernel is in a state that is not ours to answer for, until the next audit is over.
	tampered bool
	// found is what an audit beside the passes has found, and the next pass repairs.
	found *drift
	// beside says that audits are made beside passes, not by them.
	beside bool
	// after is called with the objects after each step.
	after func(objects)
}

func newScenario(t testing.TB, rate float64, seed uint64) *scenario {
	s := &scenario{
		t: t, objects: &objects{
			services: map[cluster.Name]*v1.Service{}, slices: map[cluster.Name]*discovery.EndpointSlice{},
			nodes: map[string]*v1.Node{},
		},
		memory: kernel.NewMemory(), now: time.Unix(1e9, 0), rows: map[cluster.Name]Row{},
		foreign: map[dataplane.VirtualServerID]bool{},
	}
	s.memory.Addresses = []netip.Addr{netip.MustParseAddr("192.168.50.1"), netip.MustParseAddr("fd00:50::1")}
	s.memory.AfterEach = func(op dataplane.Op, state *dataplane.State) {
		for _, violation := range state.Violations() {
			if !s.tampered && !s.foreignViolation(violation) {
				t.Errorf("after %s: %s", op, violation)
			}
		}
		if o, is := op.Object.(dataplane.VirtualServerObject); is && op.Verb == dataplane.Delete && s.passing && rate == 0 &&
			s.refused == "" && !s.tampered {
			if _, wanted := s.engine.want.State.VirtualServers[o.ID]; wanted {
				t.Errorf("%s, which is wanted, though all goes well", op)
			}
		}
		if vip, left := s.left(op, state); left {
			t.Errorf("after %s nothing makes %s local, which is served", op, vip)
		}
	}
	s.faulty = kernel.NewFaulty(s.memory, rate, seed)
	s.trace = &trace{Kernel: s.faulty}
	s.random = rand.New(rand.NewPCG(seed, 5))
	if rate > 0 {
		s.limit, s.piece = 1+int(seed%5), 1+int(seed/5%24)
		if seed/3%2 == 0 {
			s.runner = &stepRunner{}
		}
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("faults came with TEST_SEED=%d; the last operations were\n%s", seed, s.trace.last())
			}
		})
	}
	s.restart()
	return s
}

// guarded checks that no pass leaves a front end open to clients outside of its source ranges, unless it reports that
// it could not take it down, or one before did and the next try is still to come, or rules of another version are in
// force.
func (s *scenario) guarded(r Report) {
	s.t.Helper()
	state, want := s.memory.State(), s.engine.want
	uncertain := s.tampered || s.engine.auditDue || r.Err != nil || s.engine.starting
	open := map[dataplane.VirtualServerID]struct{}{}
	for _, id := range dataplane.Exposed(state, want.State, dataplane.All(nil, state)) {
		owner := want.Owner(id)
		_, reported := s.open[id]
		if reported && s.engine.retries[owner] != nil ||
			slices.ContainsFunc(r.Failures[owner], func(f Failure) bool { return f.Op.Verb == dataplane.Delete }) {
			open[id] = struct{}{}
		} else if !uncertain {
			s.t.Errorf("%s is served: %s", id, dataplane.Unguarded(state, want.State, id))
		}
	}
	s.open = open
}

// left reports whether a VIP has lost its address, or its route, before it got what it is to have instead, and not
// because all that is served there is taken down.
func (s *scenario) left(op dataplane.Op, state *dataplane.State) (netip.Addr, bool) {
	if op.Verb != dataplane.Delete {
		return netip.Addr{}, false
	}
	switch o := op.Object.(type) {
	case dataplane.Address:
		_, instead := s.engine.want.State.Routes[o.Addr]
		return o.Addr, instead && !state.Local(o.Addr) && !s.takenDown(o.Addr, state)
	case dataplane.Route:
		_, instead := s.engine.want.State.Addresses[o.Addr]
		return o.Addr, instead && !state.Local(o.Addr) && !s.takenDown(o.Addr, state)
	}
	return netip.Addr{}, false
}

// takenDown reports whether the engine knows of each virtual server of the VIP that all clients reach it though not
// all may.
func (s *scenario) takenDown(vip netip.Addr, state *dataplane.State) bool {
	for id := range state.VirtualServers {
		if id.Addr == vip && dataplane.Unguarded(s.engine.have, s.engine.want.State, id) == "" {
			return false
		}
	}
	return true
}

// foreignViolation reports whether the violation is that somebody else's virtual server is not ours.
func (s *scenario) foreignViolation(text string) bool {
	for id := range s.foreign {
		if strings.Contains(text, "virtual server "+id.String()+" cannot be distinguished") {
			return true
		}
	}
	return false
}

func (s *scenario) restart() {
	s.engine = New(Settings{
		NodeName: "n1",
		Dataplane: dataplane.Config{
			VIPs: s.mode, Link: "kube-ipvs0", Families: []cluster.Family{cluster.IPv4, cluster.IPv6}, MasqueradeMark: 1 << 14, MasqueradePorts: [2]uint16{32768, 65535},
			Facts: dataplane.Facts{KernelMajor: 6, KernelMinor: 1, Schedulers: scheduler.KernelNames()},
		},
		Operator:        cluster.Operator{Namespaces: map[string]map[string]string{"cache": {annotation.Scheduler: "sh"}}},
		ExternalIPCIDRs: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("fd00:203::/64")},
		Exclude:         []netip.Prefix{netip.MustParsePrefix("10.97.0.0/16")},
		APIServers:      func() []netip.AddrPort { return []netip.AddrPort{netip.MustParseAddrPort("203.0.113.100:6443")} },
		Protected: func(protocol cluster.Protocol, port uint16) bool {
			return protocol == cluster.TCP && (port == 22 || 10248 <= port && port <= 10250) ||
				protocol == cluster.UDP && port == 4789
		},
	}, s.trace, s.objects)
	atOnce := func() time.Time { return s.now } // what is read takes no time, so that nothing waits for it
	s.engine.stale.clock, s.engine.cutoffs.clock, s.engine.pieces.clock = atOnce, atOnce, atOnce
	if s.limit > 0 {
		s.engine.backlog.limit, s.engine.backlog.most = s.limit, s.limit
	}
	if s.runner != nil {
		s.runner.jobs = nil
		s.engine.background, s.engine.large = s.runner, func(int, int) bool { return true }
	}
	if s.piece > 0 {
		s.engine.pieces.objects, s.engine.pieces.servers = s.piece, 1+s.piece/4
	}
}

// stepRunner is a jobRunner whose jobs are done when a scenario says so.
type stepRunner struct{ jobs []func() }

func (m *stepRunner) start(job func()) { m.jobs = append(m.jobs, job) }
func (m *stepRunner) pause()           {}

// runSome does some of the jobs, in their order.
func (s *scenario) runSome() {
	if s.runner == nil {
		return
	}
	for range min(len(s.runner.jobs), s.random.IntN(4)) {
		s.runner.jobs[0]()
		s.runner.jobs = s.runner.jobs[1:]
	}
}

// converge makes passes until nothing is left to be tried again.
func (s *scenario) converge(dirty []cluster.Name, audit bool) {
	s.t.Helper()
	s.ops = 0
	for i := 0; ; i++ {
		s.runSome()
		s.passing = true
		r := s.engine.pass(s.now, dirty, audit, s.found)
		s.passing, s.found = false, nil
		s.ops += r.OpCount()
		s.node = r.ProblemsOfNodes()
		for _, row := range r.Changed {
			s.rows[row.Name] = row
		}
		s.guarded(r)
		retry := s.engine.retries.next()
		next := retry
		for _, due := range []time.Time{s.engine.stale.next(), s.engine.cutoffs.next()} {
			if next.IsZero() || !due.IsZero() && due.Before(next) {
				next = due
			}
		}
		if next.IsZero() && r.Error() == nil && r.Backlog == 0 {
			s.tampered = false
			return
		}
		if s.refused != "" && r.Backlog == 0 && next.Sub(s.now) >= 10*time.Second {
			s.tampered = false
			return
		}
		if i == 300 {
			s.t.Fatalf("after %d passes there is still something to be done: %v", i, r.Error())
		}
		dirty, audit = nil, false
		switch wait := next.Sub(s.now); {
		case wait <= 0:
		case s.faulty.Rate > 0 && next.Equal(retry):
			// Bad luck takes no time: an endpoint that drains would be gone before what is wanted is looked at.
			for _, r := range s.engine.retries {
				r.due = r.due.Add(-wait)
			}
		default:
			s.now = next
		}
	}
}

func (s *scenario) run(a *txtar.Archive, update bool) {
	s.t.Helper()
	for i, file := range a.Files {
		verb, _, _ := strings.Cut(file.Name, " ")
		switch verb {
		case "apply":
			s.converge(s.apply(file.Data), false)
		case "delete":
			s.converge(s.delete(string(file.Data)), false)
		case "do":
			for line := range strings.Lines(string(file.Data)) {
				if fields := strings.Fields(line); len(fields) > 0 {
					s.do(fields)
				}
			}
		case "want", "problems", "health", "flows":
			got := map[string]func() string{
				"want": s.memory.State().ServiceText, "problems": s.problems, "health": s.health, "flows": s.flows,
			}[verb]()
			if update {
				a.Files[i].Data = []byte(got)
			} else if diff := gocmp.Diff(strings.Split(string(file.Data), "\n"), strings.Split(got, "\n")); diff != "" {
				s.t.Errorf("%s (-want +got):\n%s", file.Name, diff)
			}
		default:
			s.t.Fatalf("the step %q begins with none of apply, delete, do, want, problems", file.Name)
		}
		if s.after != nil {
			s.after(s.objects.clone())
		}
		if s.t.Failed() {
			s.t.FailNow()
		}
	}
}

func (s *scenario) apply(text []byte) (dirty []cluster.Name) {
	s.t.Helper()
	for _, document := range strings.Split(string(text), "---\n") {
		var kind metav1.TypeMeta
		s.must(yaml.Unmarshal([]byte(document), &kind))
		switch kind.Kind {
		case "Service":
			service := &v1.Service{}
			s.must(yaml.UnmarshalStrict([]byte(document), service))
			name := nameOf(service)
			s.objects.services[name] = service
			dirty = append(dirty, name)
		case "EndpointSlice":
			slice := &discovery.EndpointSlice{}
			s.must(yaml.UnmarshalStrict([]byte(document), slice))
			name := nameOf(slice)
			if old := s.objects.slices[name]; old != nil {
				dirty = append(dirty, cluster.Name{Namespace: name.Namespace, Name: old.Labels[discovery.LabelServiceName]})
			}
			s.objects.slices[name] = slice
			dirty = append(dirty, cluster.Name{Namespace: name.Namespace, Name: slice.Labels[discovery.LabelServiceName]})
		case "Node":
			node := &v1.Node{}
			s.must(yaml.UnmarshalStrict([]byte(document), node))
			s.objects.nodes[node.Name] = node
			s.objects.version++
		default:
			s.t.Fatalf("kind %q in\n%s", kind.Kind, document)
		}
	}
	return dirty
}

func nameOf(o metav1.Object) cluster.Name {
	if o.GetNamespace() == "" {
		o.SetNamespace("default")
	}
	return cluster.Name{Namespace: o.GetNamespace(), Name: o.GetName()}
}

func (s *scenario) delete(text string) (dirty []cluster.Name) {
	s.t.Helper()
	for line := range strings.Lines(text) {
		kind, of, _ := strings.Cut(strings.TrimSpace(line), " ")
		name := cluster.Name{Namespace: "default", Name: of}
		if namespace, rest, found := strings.Cut(of, "/"); found {
			name = cluster.Name{Namespace: namespace, Name: rest}
		}
		switch {
		case kind == "Service" && s.objects.services[name] != nil:
			delete(s.objects.services, name)
			dirty = append(dirty, name)
		case kind == "EndpointSlice" && s.objects.slices[name] != nil:
			dirty = append(
				dirty, cluster.Name{Namespace: name.Namespace, Name: s.objects.slices[name].Labels[discovery.LabelServiceName]},
			)
			delete(s.objects.slices, name)
		default:
			s.t.Fatalf("delete: there is no %s", line)
		}
	}
	return dirty
}

func (s *scenario) problems() string {
	var lines []string
	for name, row := range s.rows {
		for _, p := range row.Problems {
			lines = append(lines, fmt.Sprintf("%s %s\n", name, p))
		}
		for _, e := range row.Errors {
			lines = append(lines, fmt.Sprintf("%s error %s\n", name, e))
		}
	}
	for _, p := range s.node {
		lines = append(lines, fmt.Sprintf("node %s\n", p))
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

func (s *scenario) health() string {
	var lines []string
	for name, row := range s.rows {
		if row.HealthCheckPort != 0 {
			lines = append(lines, fmt.Sprintf("%s health check port %d: %d and %d (IPv6) here\n",
				name, row.HealthCheckPort, row.LocalReady.IPv4, row.LocalReady.IPv6))
		}
		if row.NoLocalInternal+row.NoLocalExternal > 0 {
			lines = append(lines, fmt.Sprintf("%s none here: internal %d, external %d\n",
				name, row.NoLocalInternal, row.NoLocalExternal))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

func (s *scenario) flows() string {
	var lines []string
	for _, f := range s.memory.Flows {
		lines = append(lines, f.String()+"\n")
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

func (s *scenario) do(fields []string) {
	s.t.Helper()
	state := s.memory.State()
	switch verb, args := fields[0], fields[1:]; verb {
	case "advance":
		d, err := time.ParseDuration(args[0])
		s.must(err)
		for end := s.now.Add(d); s.now.Before(end); {
			s.now = end
			if due := s.engine.drains.next(); !due.IsZero() && due.Before(end) {
				s.now = due
			}
			s.converge(nil, false)
		}
	case "audit":
		s.audit()
	case "restart":
		s.restart()
		s.converge(nil, true)
	case "mode":
		mode, known := dataplane.ParseVIPMode(args[0])
		if !known {
			s.t.Fatalf("there is no mode %q", args[0])
		}
		s.mode = mode
		s.restart()
		s.converge(nil, true)
	case "addresses":
		var networks []netip.Prefix
		for _, text := range args {
			if network, err := netip.ParsePrefix(text); err == nil {
				networks = append(networks, network)
			} else {
				addr := netip.MustParseAddr(text)
				networks = append(networks, netip.PrefixFrom(addr, addr.BitLen()))
			}
		}
		s.memory.SetNetworks(networks...)
		s.engine.lose(func(addr netip.Addr) bool { return !slices.Contains(s.memory.Addresses, addr) })
		dirty, err := s.engine.readAddresses()
		s.converge(dirty, err != nil)
	case "listen":
		s.memory.Listeners = nil
		for i := 0; i+1 < len(args); i += 2 {
			id := s.id(args[i:])
			s.memory.Listeners = append(s.memory.Listeners,
				dataplane.Listener{Protocol: id.Protocol, Addr: id.Addr, Port: id.Port})
		}
	case "nat":
		nat := s.nat
		if s.nat = nil; len(args) > 0 {
			s.nat = append(nat, strings.Join(args, " "))
		}
		var found []dataplane.Capture
		for _, family := range []cluster.Family{cluster.IPv4, cluster.IPv6} {
			text := "*nat\n"
			for _, rule := range s.nat {
				if of, rule, _ := strings.Cut(rule, " "); of == family.String() {
					text += rule + "\n"
				}
			}
			found = append(
				found, iptables.Captures(family, "", text+"-A PREROUTING -j IPVSP-SERVICES\n-A OUTPUT -j IPVSP-SERVICES\n")...,
			)
		}
		s.memory.Captures = dataplane.NewCaptures(found)
	case "unread":
		if s.memory.UnreadRules = nil; len(args) > 0 {
			s.memory.UnreadRules = []string{strings.Join(args, " ")}
		}
	case "busy":
		n, err := strconv.ParseUint(args[3], 10, 32)
		s.must(err)
		s.memory.Busy[dataplane.RealServerID{
			VirtualServer: s.id(args), Endpoint: netip.MustParseAddrPort(args[2]),
		}] = uint32(n)
	case "send":
		s.memory.Send(netip.MustParseAddrPort(args[0]), netip.MustParseAddrPort(args[1]))
	case "track", "answer":
		front, client, server := netip.MustParseAddrPort(args[1]), netip.MustParseAddrPort(args[2]), netip.MustParseAddrPort(args[3])
		protocol := s.id(args).Protocol
		f := kernel.Flow{Protocol: protocol, Client: client, FrontEnd: front, Server: server, Answers: client}
		if verb == "answer" {
			f = kernel.Flow{Protocol: protocol, Client: server, FrontEnd: client, Server: client, Answers: front}
		}
		s.memory.Flows = append(s.memory.Flows, f)
	case "foreign":
		id := s.id(args)
		s.foreign[id] = true
		s.memory.AddForeign(id, dataplane.VirtualServer{Scheduler: args[2]})
	case "weight":
		n, err := strconv.ParseUint(args[3], 10, 16)
		s.must(err)
		s.tampered = true
		state.Apply(dataplane.Op{Verb: dataplane.Update, Object: s.realServer(args, uint32(n))})
	case "add":
		s.tampered = true
		state.Apply(dataplane.Op{Verb: dataplane.Create, Object: s.object(args)})
	case "drop":
		s.tampered = true
		state.Apply(dataplane.Op{Verb: dataplane.Delete, Object: s.object(args)})
	case "refuse":
		if s.refused = strings.Join(args, " "); s.refused == "" {
			s.faulty.Kernel = s.memory
			s.now = s.now.Add(lastOfOne)
			s.converge(nil, false)
			break
		}
		s.faulty.Kernel = &brokenKernel{Kernel: s.memory, errno: syscall.EINVAL, refuse: func(op dataplane.Op) bool {
			return slices.ContainsFunc(strings.Split(s.refused, " | "),
				func(words string) bool { return strings.Contains(op.String(), words) })
		}}
	case "flush":
		s.tampered = true
		for id := range state.Chains {
			if id.Family.String() == args[0] && id.Table == args[1] && id.Name == args[2] {
				state.Chains[id] = dataplane.Chain{ID: id}
			}
		}
	case "operations":
		if want := args[0]; strconv.Itoa(s.ops) != want {
			s.t.Errorf("the last change took %d operations, want %s", s.ops, want)
		}
	default:
		s.t.Fatalf("there is no command %q", verb)
	}
}

func (s *scenario) object(args []string) dataplane.Object {
	s.t.Helper()
	switch kind := args[0]; kind {
	case "address":
		return dataplane.Address{Addr: netip.MustParseAddr(args[1])}
	case "route":
		route := dataplane.Route{Addr: netip.MustParseAddr(args[1])}
		if len(args) > 2 {
			route.Source = netip.MustParseAddr(args[2])
		}
		return route
	case "link":
		return dataplane.Link{Name: args[1]}
	case "vs":
		return dataplane.VirtualServerObject{ID: s.id(args[1:])}
	case "rs":
		return s.realServer(args[1:], 0)
	case "entry":
		entry, err := ipset.ParseEntry(ipset.Type(args[2]), args[3])
		s.must(err)
		return dataplane.SetEntry{Set: args[1], Type: ipset.Type(args[2]), Entry: entry}
	}
	s.t.Fatalf("drop: there is no kind %q", args[0])
	return nil
}

func (s *scenario) id(args []string) dataplane.VirtualServerID {
	s.t.Helper()
	protocol, err := ipset.ParseProtocol(args[0])
	if err != nil {
		s.t.Fatal(err)
	}
	at := netip.MustParseAddrPort(args[1])
	return dataplane.VirtualServerID{Addr: at.Addr(), Port: at.Port(), Protocol: protocol}
}

func (s *scenario) realServer(args []string, weight uint32) dataplane.RealServerObject {
	at := netip.MustParseAddrPort(args[2])
	return dataplane.RealServerObject{
		VirtualServer: s.id(args), RealServer: dataplane.RealServer{Addr: at.Addr(), Port: at.Port(), Weight: weight},
	}
}

func (s *scenario) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}
