package kerneltest

import (
	"fmt"
	"net/netip"
	"syscall"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// byRoute is Config with routes in the place of addresses.
func byRoute() dataplane.Config {
	c := Config
	c.VIPs = dataplane.ByRoute
	return c
}

// Two sets of addresses that the node can have.
var first, second = sources(2), sources(3)

func sources(last int) dataplane.Sources {
	return dataplane.Sources{
		IPv4: netip.AddrFrom4([4]byte{192, 168, 77, byte(last)}), IPv6: netip.MustParseAddr(fmt.Sprintf("fd00:77::%d", last)),
	}
}

func (s *suite) address(of dataplane.Sources, present bool) {
	s.Helper()
	for _, addr := range []netip.Addr{of.IPv4, of.IPv6} {
		if err := s.flows.Address(addr, present); err != nil {
			s.Fatal(err)
		}
	}
}

func (s *suite) routeTransitions() {
	s.address(first, true)
	s.address(second, true)
	none := dataplane.Sources{}
	for _, want := range []*dataplane.State{
		servicesBy(byRoute(), first, 0, 6), servicesBy(byRoute(), second, 1, 6), servicesBy(byRoute(), none, 1, 6),
		services(2, 5), servicesBy(byRoute(), first, 1, 4), services(1, 4), servicesBy(byRoute(), none, 0, 400),
		services(0, 1),
	} {
		s.become(want)
	}
	s.become(servicesBy(byRoute(), first, 0, 2))
	have := s.observe()
	s.do(dataplane.Diff(have, dataplane.NewState(), dataplane.All(nil, have))...)
	if left := s.observe(); len(left.Routes)+len(left.Addresses)+len(left.Links) > 0 {
		s.Errorf("left: %v %v %v", left.Links, left.Addresses, left.Routes)
	}
}

func (s *suite) routes() {
	s.address(first, true)
	s.address(second, true)
	unknown := sources(9)
	for _, vip := range []netip.Addr{id.Addr, id6.Addr} {
		route := func(of dataplane.Sources) dataplane.Route {
			return dataplane.Route{Addr: vip, Source: of.For(vip)}
		}
		holds := func(want dataplane.Route) {
			s.Helper()
			if source, present := s.observe().Routes[vip]; !present || source != want.Source {
				s.Errorf("the route of %s: %v, source %v; want %s", vip, present, source, want)
			}
		}
		s.refused(op(dataplane.Delete, route(first)), syscall.ESRCH)
		s.refused(op(dataplane.Create, route(unknown)), syscall.EINVAL)
		s.do(op(dataplane.Create, route(first)))
		s.refused(op(dataplane.Create, route(first)), syscall.EEXIST)
		s.refused(op(dataplane.Create, route(second)), syscall.EEXIST)
		s.refused(op(dataplane.Update, route(unknown)), syscall.EINVAL)
		holds(route(first))
		for _, of := range []dataplane.Sources{second, second, {}, first} {
			s.do(op(dataplane.Update, route(of)))
			holds(route(of))
		}
		s.do(op(dataplane.Delete, dataplane.Route{Addr: vip}))
		s.refused(op(dataplane.Delete, route(first)), syscall.ESRCH)
		s.do(op(dataplane.Update, route(second))) // whether there is one or not
		holds(route(second))
	}
}

// routesStay: an address of the VIP comes and goes beside its route, with the last one of our link. The node's address
// that the route prefers goes, and comes again. Our link goes. The engine counts on the route to stay, on an IPv4 route
// to keep its source, and on being able to write the source anew. An IPv6 route may lose its source or keep it (Linux
// 6.6 and later, and before).
func (s *suite) routesStay() {
	s.address(first, true)
	s.address(second, true)
	s.do(op(dataplane.Create, link))
	vips := []netip.Addr{id.Addr, id6.Addr}
	for _, vip := range vips {
		s.do(op(dataplane.Create, dataplane.Route{Addr: vip, Source: first.For(vip)}))
		s.do(op(dataplane.Create, dataplane.Address{Addr: vip}))
	}
	mayLose := false
	holds := func(after string, of dataplane.Sources, addresses int) {
		s.Helper()
		have := s.observe()
		for _, vip := range vips {
			source, present := have.Routes[vip]
			lost := mayLose && vip.Is6() && source == netip.Addr{}
			if !present || source != of.For(vip) && !lost {
				s.Errorf("after %s the route of %s: %v, source %v; want %v", after, vip, present, source, of.For(vip))
			}
		}
		if len(have.Addresses) != addresses {
			s.Errorf("after %s: addresses %v, want %d", after, have.Addresses, addresses)
		}
	}
	holds("the addresses came", first, 2)
	for _, vip := range vips {
		s.do(op(dataplane.Delete, dataplane.Address{Addr: vip}))
	}
	holds("the last addresses went", first, 0)
	s.do(op(dataplane.Delete, link))
	holds("the link went", first, 0)
	mayLose = true
	s.address(first, false)
	holds("its source went", first, 0)
	s.address(first, true)
	holds("its source came again", first, 0)
	mayLose = false
	for _, of := range []dataplane.Sources{first, second} {
		for _, vip := range vips {
			s.do(op(dataplane.Update, dataplane.Route{Addr: vip, Source: of.For(vip)}))
		}
		holds("a source was given", of, 0)
	}
	s.address(second, false)
	for _, vip := range vips {
		s.do(op(dataplane.Update, dataplane.Route{Addr: vip}))
	}
	holds("no source was given", dataplane.Sources{}, 0)
	for _, vip := range vips {
		s.do(op(dataplane.Delete, dataplane.Route{Addr: vip}))
	}

	// The other way round: the route is the one that goes.
	s.do(op(dataplane.Create, link))
	for _, vip := range vips {
		s.do(op(dataplane.Create, dataplane.Address{Addr: vip}), op(dataplane.Create, dataplane.Route{Addr: vip}),
			op(dataplane.Delete, dataplane.Route{Addr: vip}))
	}
	if have := s.observe(); len(have.Routes) != 0 || len(have.Addresses) != len(vips) {
		s.Errorf("routes %v, addresses %v; want addresses alone", have.Routes, have.Addresses)
	}
}
