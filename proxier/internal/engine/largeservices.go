package engine

import (
	"maps"
	"net/netip"
	"slices"
	"sync"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// What is larger is made beside the passes: a Service with its EndpointSlices of so many bytes, or where the product of
// both, to which its ports times its endpoints are in proportion, is so great. 500 endpoints of one port are about
// that, and take a millisecond.
const (
	largeBytes   = 256 << 10
	largeProduct = 8 << 20
)

func large(service, slices int) bool {
	return service+slices > largeBytes || service > 0 && slices > largeProduct/service
}

// maker does jobs beside the passes, one after the other in the order in which they were begun.
type maker interface {
	// begin takes a job on. It does not wait for it.
	begin(job func())
	// pause lets others have the processor, in a job.
	pause()
}

// order is all that a Service is made from, as it is when that begins.
type order struct {
	settings   *Settings
	lister     Lister
	name       cluster.Name
	node       dataplane.Node
	broadcasts []netip.Addr
	weights    uint64
	// before is what is in force, ignored that the Service is one that asks to be left alone.
	before  *service
	ignored bool
	// programmed answers what the kernel has, where nothing else tells what is in force.
	programmed func(question) (string, bool)
	pause      func()
}

// made is what becomes of a Service: gone where there is nothing to be served.
type made struct {
	gone, ignored bool
	service       cluster.Service
	fragment      dataplane.Fragment
}

// make reads the objects and compiles them. It looks at nothing that the passes change.
func (o order) make() made {
	api := o.lister.Service(o.name)
	if api == nil || !cluster.Proxied(api, o.settings.ProxyName) {
		return made{gone: true}
	}
	ignored, mistakes := cluster.Ignored(api, o.ignored)
	if ignored && mistakes.None() {
		return made{gone: true, ignored: true}
	}
	if ignored {
		api = api.DeepCopy()
		api.Spec.Ports = nil
	}
	o.pause()
	nodeWeight := o.lister.NodeWeight
	if o.settings.NoNodeWeights {
		nodeWeight = nil
	}
	s := cluster.Parse(cluster.Input{
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
	})
	s.Name = o.name // with the strings that are there already
	s.Problems.Join(mistakes)
	f := dataplane.CompilePausing(s, o.node, o.settings.Dataplane, o.pause)
	return made{ignored: ignored, service: s, fragment: f}
}

// order returns what the Service is made from now.
func (e *Engine) order(name cluster.Name) order {
	return order{
		settings: &e.settings, lister: e.lister, name: name,
		node: e.node, broadcasts: e.broadcasts, weights: e.weightsVersion,
		before: e.services[name], ignored: e.ignored[name],
		programmed: func(q question) (string, bool) { return e.programmed(name, q) },
		pause:      func() {},
	}
}

// compile makes what the Service wants now, and has it wanted. What is large is begun beside the pass, and taken by one
// of the next.
func (e *Engine) compile(name cluster.Name, affected map[cluster.Name]struct{}) dataplane.Touched {
	if e.beside == nil || !e.large(e.lister.Size(name)) {
		delete(e.making, name) // this is newer
		return e.accept(name, e.order(name).make(), affected)
	}
	if m := e.making[name]; m != nil {
		m.again = true
		return dataplane.Touched{}
	}
	e.beginMaking(name, nil)
	return dataplane.Touched{}
}

// accept puts what was made of a Service into want.
func (e *Engine) accept(name cluster.Name, m made, affected map[cluster.Name]struct{}) dataplane.Touched {
	delete(e.ignored, name)
	if m.ignored {
		e.ignored[name] = true
	}
	if m.gone {
		return e.drop(name, affected)
	}
	s, fragment := m.service, m.fragment
	e.checkFrontEnds(&s, &fragment)
	e.claims.note(name, fragment, e.lister.NodeAt)
	e.ration(&s, &fragment)
	e.starts.note(s)
	touched := e.put(fragment, affected)
	e.services[name] = e.keep(s, fragment)
	return touched
}

// making is a Service that is made beside the passes. Until it is taken, what is in force stays so.
type making struct {
	order
	// again says that its objects have changed since it was begun.
	again bool
	// answers are what the kernel has, as far as it was asked for when it was made before; asked is what it is to be
	// asked next.
	answers map[question]answered
	asked   []question

	mu   sync.Mutex
	done bool
	made made
}

type answered struct {
	value string
	found bool
}

func (e *Engine) beginMaking(name cluster.Name, answers map[question]answered) {
	m := &making{order: e.order(name), answers: answers}
	m.pause = e.beside.pause
	// The kernel's mirror is the passes'. What is missing of it is asked for, and the Service made again with the
	// answers.
	m.programmed = func(q question) (string, bool) {
		a, known := m.answers[q]
		if !known {
			m.asked = append(m.asked, q)
		}
		return a.value, a.found
	}
	e.making[name] = m
	e.beside.begin(func() {
		made := m.make()
		m.mu.Lock()
		defer m.mu.Unlock()
		m.made, m.done = made, true
	})
}

func (m *making) isDone() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.done
}

// takeMade returns the Services that were made beside the passes, by name, and those that are to be made again. Where
// the objects have changed meanwhile, what was made is taken all the same: it is newer than what is in force, and a
// Service that changes all the time would never have its turn. Where the node has changed it is not: others may have an
// address by now that was this one's.
func (e *Engine) takeMade() (done []*making, again []cluster.Name) {
	for _, name := range slices.SortedFunc(maps.Keys(e.making), cluster.Name.Compare) {
		m := e.making[name]
		if !m.isDone() {
			continue
		}
		delete(e.making, name)
		switch {
		case !e.sameNode(m.order):
			again = append(again, name)
		case len(m.asked) > 0:
			e.beginMaking(name, e.answer(m))
			e.making[name].again = m.again
		default:
			if m.again {
				again = append(again, name)
			}
			done = append(done, m)
		}
	}
	return done, again
}

// sameNode tells whether the node is as it was when the order was given.
func (e *Engine) sameNode(o order) bool {
	return o.weights == e.weightsVersion && o.node.Zone == e.node.Zone && slices.Equal(o.node.Primary, e.node.Primary) &&
		slices.Equal(o.node.Addresses, e.node.Addresses) && slices.Equal(o.broadcasts, e.broadcasts)
}

// answer returns all answers that a Service has asked for.
func (e *Engine) answer(m *making) map[question]answered {
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
