package engine

import (
	"net/netip"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// Inquiry finds out what becomes of the endpoints of a Service, beside the passes, by the same code as they. The zero
// value finds out nothing. What it reads never changes, so that any goroutine may use it.
type Inquiry struct {
	settings   *Settings
	lister     Lister
	node       dataplane.Node
	broadcasts []netip.Addr
}

// Basis is the state in which a Service was parsed: the values that are in force where something is rejected. It never
// changes.
type Basis struct{ before *service }

// Answer is what an Inquiry finds out about one Service, as its objects are now.
type Answer struct {
	// Unserved says why the Service is not served at all; empty where it is, or could be.
	Unserved string
	// Service is the Service as it was parsed, Fates are those of the endpoints of its ports, in their order.
	Service cluster.Service
	Fates   [][]dataplane.Fate
	// Unlisted are endpoints that no port gets. SliceOf names the EndpointSlice of an address.
	Unlisted []cluster.Unlisted
	SliceOf  map[netip.Addr]string
}

// Ask returns what becomes of the endpoints of a Service. basis is that of its Row; the zero Basis is of one that has
// none.
func (q Inquiry) Ask(name cluster.Name, basis Basis) (a Answer) {
	if q.lister == nil {
		return Answer{Unserved: "the first sync is not done"}
	}
	api := q.lister.Service(name)
	if api == nil {
		return Answer{Unserved: "no such Service is known (nor are headless ones and those of other proxies)"}
	}
	if why := cluster.Unproxied(api, q.settings.ProxyName); why != "" {
		return Answer{Unserved: why}
	}
	if ignored, _ := cluster.Ignored(api, false); ignored {
		return Answer{Unserved: "an annotation asks that it is left alone"}
	}
	o := compileInput{
		settings: q.settings, lister: q.lister, name: name, node: q.node, broadcasts: q.broadcasts, before: basis.before,
		programmed: func(question) (string, bool) { return "", false }, pause: func() {},
	}
	in := o.input(api)
	in.LeaveOut = func(u cluster.Unlisted) { a.Unlisted = append(a.Unlisted, u) }
	a.Service = cluster.Parse(in)
	for i := range a.Service.Ports {
		a.Fates = append(a.Fates, dataplane.Fates(&a.Service, &a.Service.Ports[i]))
	}
	a.SliceOf = map[netip.Addr]string{}
	for _, slice := range in.Slices {
		for _, e := range slice.Endpoints {
			if len(e.Addresses) == 0 {
				continue
			}
			if addr, err := netip.ParseAddr(e.Addresses[0]); err == nil && a.SliceOf[addr] == "" {
				a.SliceOf[addr] = slice.Name
			}
		}
	}
	return a
}

func (e *Engine) inquiry() Inquiry {
	return Inquiry{settings: &e.settings, lister: e.lister, node: e.node, broadcasts: e.broadcasts}
}
