package engine

import (
	"maps"
	"net/netip"
	"slices"
	"sync"

	v1 "k8s.io/api/core/v1"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// What is larger is compiled in the background: a Service with its EndpointSlices of so many bytes, or where the
// product of both, to which its ports times its endpoints are in proportion, is so great. 500 endpoints of one port are
// about that, and take a millisecond.
// Few bytes can ask for many front ends: so is a Service whose ports times its addresses are many, or where the product
// of these and the bytes of its EndpointSlices is great, to which all real servers are in proportion. 512 front ends
// take a millisecond.
const (
	largeBytes         = 256 << 10
	largeProduct       = 8 << 20
	largeFrontEnds     = 512
	largeFrontEndBytes = 1 << 20
)

func large(service, slices int) bool {
	return service+slices > largeBytes || service > 0 && slices > largeProduct/service
}

func largeFor(frontEnds, slices int) bool {
	return frontEnds > largeFrontEnds || frontEnds > 0 && slices > largeFrontEndBytes/frontEnds
}

// frontEndsOf returns how many front ends the Service asks for on the node, or more where families differ.
func frontEndsOf(api *v1.Service, node *dataplane.Node) int {
	addresses := len(api.Spec.ClusterIPs) + len(api.Spec.ExternalIPs) + len(api.Status.LoadBalancer.Ingress)
	if slices.ContainsFunc(api.Spec.Ports, func(p v1.ServicePort) bool { return p.NodePort != 0 }) {
		addresses += len(node.Addresses)
	}
	return len(api.Spec.Ports) * addresses
}

// jobRunner does jobs beside the passes, one after the other in the order in which they were started.
type jobRunner interface {
	// start takes a job on. It does not wait for it.
	start(job func())
	// pause lets others have the processor, in a job.
	pause()
}

// compileInput is all that a Service is compiled from, as it is when that begins.
type compileInput struct {
	settings *Settings
	lister   Lister
	name     cluster.Name
	// api is the Service where it was read ahead; else nil.
	api        *v1.Service
	node       dataplane.Node
	broadcasts []netip.Addr
	weights    uint64
	// before is what is in force, ignored that the Service is one that asks to be left alone.
	before  *service
	ignored bool
	// programmed answers what the kernel has, where nothing else says what is in force.
	programmed func(question) (string, bool)
	pause      func()
}

// compiled is what becomes of a Service: gone where there is nothing to be served.
type compiled struct {
	gone, ignored bool
	service       cluster.Service
	fragment      dataplane.Fragment
}

// compile reads the objects and compiles them. It looks at nothing that the passes change.
func (o compileInput) compile() compiled {
	api := o.api
	if api == nil {
		api = o.lister.Service(o.name)
	}
	if api == nil || !cluster.Proxied(api, o.settings.ProxyName) {
		return compiled{gone: true}
	}
	ignored, mistakes := cluster.Ignored(api, o.ignored)
	if ignored && mistakes.None() {
		return compiled{gone: true, ignored: true}
	}
	if ignored {
		api = api.DeepCopy()
		api.Spec.Ports = nil
	}
	o.pause()
	s := cluster.Parse(o.input(api))
	s.Name = o.name // with the strings that are there already
	s.Problems.Join(mistakes)
	f := dataplane.CompilePausing(s, o.node, o.settings.Dataplane, o.pause)
	return compiled{ignored: ignored, service: s, fragment: f}
}

// input is what the Service is read from.
func (o compileInput) input(api *v1.Service) cluster.Input {
	nodeWeight := o.lister.NodeWeight
	if o.settings.NoNodeWeights {
		nodeWeight = nil
	}
	return cluster.Input{
		Service:          api,
		Slices:           o.lister.Slices(o.name),
		NodeName:         o.settings.NodeName,
		Zone:             o.node.Zone,
		Operator:         o.settings.Operator,
		NoAliases:        o.settings.NoAliases,
		KernelSchedulers: o.settings.Dataplane.Facts.Schedulers,
		NodeWeight:       nodeWeight,
		Broadcasts:       o.broadcasts,
		ExternalIPCIDRs:  o.settings.ExternalIPCIDRs,
		LastGood:         lastGood(o.before, api, o.programmed),
		Pause:            o.pause,
	}
}

// compileInput returns what the Service is compiled from now.
func (e *Engine) compileInput(name cluster.Name) compileInput {
	return compileInput{
		settings: &e.settings, lister: e.lister, name: name,
		node: e.node, broadcasts: e.broadcasts, weights: e.weightsVersion,
		before: e.services[name], ignored: e.ignored[name],
		programmed: func(q question) (string, bool) { return e.programmed(name, q) },
		pause:      func() {},
	}
}

// compile compiles what the Service wants now, and puts it into want. What is large is started in the background, and
// taken by one of the next passes.
func (e *Engine) compile(name cluster.Name) dataplane.Touched {
	input := e.compileInput(name)
	if !e.inBackground(&input) {
		delete(e.compiling, name) // this is newer
		return e.putCompiled(name, input.compile())
	}
	if m := e.compiling[name]; m != nil {
		m.again = true
		return dataplane.Touched{}
	}
	e.startCompile(name, nil)
	return dataplane.Touched{}
}

// inBackground reports whether a Service is to be compiled in the background. It reads the Service where the bytes do
// not say so already.
func (e *Engine) inBackground(input *compileInput) bool {
	if e.background == nil {
		return false
	}
	service, slices := e.lister.Size(input.name)
	if e.large(service, slices) {
		return true
	}
	input.api = e.lister.Service(input.name)
	return input.api != nil && largeFor(frontEndsOf(input.api, &input.node), slices)
}

// putCompiled puts what was compiled of a Service into want.
func (e *Engine) putCompiled(name cluster.Name, m compiled) dataplane.Touched {
	delete(e.ignored, name)
	if m.ignored {
		e.ignored[name] = true
	}
	if m.gone {
		return e.drop(name)
	}
	s, fragment := m.service, m.fragment
	e.checkFrontEnds(&s, &fragment)
	e.claims.note(name, fragment, e.lister.NodeAt)
	e.ration(&s, &fragment)
	e.starts.note(s)
	touched := e.put(fragment)
	e.services[name] = e.keep(s, fragment)
	return touched
}

// backgroundCompile is a Service that is compiled in the background. Until it is taken, what is in force stays so.
type backgroundCompile struct {
	compileInput
	// again says that its objects have changed since it was begun.
	again bool
	// answers are what the kernel has, as far as it was asked for when it was compiled before; asked is what it is to
	// be asked next.
	answers map[question]answered
	asked   []question

	mu     sync.Mutex
	done   bool
	result compiled
}

type answered struct {
	value string
	found bool
}

func (e *Engine) startCompile(name cluster.Name, answers map[question]answered) {
	m := &backgroundCompile{compileInput: e.compileInput(name), answers: answers}
	m.pause = e.background.pause
	// The kernel's mirror is the passes'. What is missing of it is requested from the loop, and the Service compiled
	// again with the answers.
	m.programmed = func(q question) (string, bool) {
		a, known := m.answers[q]
		if !known {
			m.asked = append(m.asked, q)
		}
		return a.value, a.found
	}
	e.compiling[name] = m
	e.background.start(func() {
		result := m.compile()
		m.mu.Lock()
		defer m.mu.Unlock()
		m.result, m.done = result, true
	})
}

func (m *backgroundCompile) isDone() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.done
}

// takeCompiled returns the Services that were compiled in the background, by name, and those that are to be compiled
// now. Where the objects have changed meanwhile, the result is taken all the same: it is newer than what is in force,
// and a Service that changes all the time would never have its turn. Where the node has changed it is not: others may
// have an address by now that was this one's.
func (e *Engine) takeCompiled() (done []*backgroundCompile, again []cluster.Name) {
	for _, name := range slices.SortedFunc(maps.Keys(e.compiling), cluster.Name.Compare) {
		m := e.compiling[name]
		if !m.isDone() {
			continue
		}
		delete(e.compiling, name)
		switch {
		case !e.sameNode(m.compileInput):
			again = append(again, name)
		case len(m.asked) > 0:
			e.startCompile(name, e.answer(m))
			e.compiling[name].again = m.again
		default:
			if m.again {
				again = append(again, name)
			}
			done = append(done, m)
		}
	}
	return done, again
}

// sameNode reports whether the node is as it was when the compilation was started.
func (e *Engine) sameNode(o compileInput) bool {
	return o.weights == e.weightsVersion && o.node.Zone == e.node.Zone && slices.Equal(o.node.Primary, e.node.Primary) &&
		slices.Equal(o.node.Addresses, e.node.Addresses) && slices.Equal(o.broadcasts, e.broadcasts)
}

// answer returns all answers that a Service has asked for.
func (e *Engine) answer(m *backgroundCompile) map[question]answered {
	all := map[question]answered{}
	for q := range m.answers {
		m.asked = append(m.asked, q)
	}
	for _, q := range m.asked {
		value, found := e.programmed(m.name, q)
		all[q] = answered{value, found}
	}
	return all
}
