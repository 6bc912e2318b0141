package dataplane

import (
	"cmp"
	"hash/fnv"
	"net/netip"
	"slices"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// virtualServer returns what is programmed for endpoints that are in order.
func (k compiler) virtualServer(vip netip.Addr, endpoints []cluster.Endpoint) VirtualServer {
	s := k.scheduler()
	v := VirtualServer{
		Scheduler: s.Kernel, Flags: k.port.Flags, OnePacket: k.port.OnePacket,
		Timeout: uint32(k.service.Affinity / time.Second),
		List:    List{Order: s.Order, Idle: s.Idle},
	}
	if len(endpoints) > 0 {
		v.RealServers = make([]RealServer, 0, len(endpoints))
	}
	for i, weight := range k.weights(s, endpoints) {
		v.RealServers = append(v.RealServers, RealServer{
			Addr: endpoints[i].Addr, Port: endpoints[i].Port, Weight: weight, Upper: k.port.Limit.Upper,
			Lower: k.port.Limit.Lower,
		})
	}
	if s.Idle == scheduler.IdleAside {
		v.List.Place = uint8(scheduler.DestinationHashPlace(vip))
	}
	return v
}

func (k compiler) scheduler() scheduler.Scheduler {
	s, known := scheduler.Lookup(k.port.Scheduler)
	if !known {
		s, _ = scheduler.Lookup(scheduler.Default)
	}
	return s
}

// weights returns the kernel's weights. Those that a slow start divides are large enough to be divided.
func (k compiler) weights(s scheduler.Scheduler, endpoints []cluster.Endpoint) []uint32 {
	weights := make([]uint32, len(endpoints))
	places := make([]scheduler.Endpoint, len(endpoints))
	for i, e := range endpoints {
		weights[i] = e.Weight
		places[i] = scheduler.Endpoint{Place: e.Place, Weight: e.Weight}
	}
	if s.Weigh != nil {
		weights = s.Weigh(scheduler.Place{Node: k.node.Name, Zone: k.node.Zone}, places)
	}
	if k.port.SlowStart == 0 {
		return weights
	}
	least := uint32(0)
	for _, w := range weights {
		if w > 0 && (least == 0 || w < least) {
			least = w
		}
	}
	if least < slowStartSteps {
		for i := range weights {
			weights[i] *= slowStartSteps
		}
	}
	return weights
}

// ordered returns the endpoints in the order in which the kernel is to have them.
func (k compiler) ordered(endpoints []cluster.Endpoint) []cluster.Endpoint {
	if k.scheduler().Order == scheduler.Canonical {
		return endpoints
	}
	type seeded struct {
		seed uint64
		at   int
	}
	list := make([]seeded, len(endpoints))
	for i, e := range endpoints {
		list[i] = seeded{k.seed(e), i}
	}
	slices.SortStableFunc(list, func(a, b seeded) int { return cmp.Compare(a.seed, b.seed) })
	in := make([]cluster.Endpoint, len(list))
	for i, e := range list {
		in[i] = endpoints[e.at]
	}
	return in
}

// seed is a number that is the same on a node for one endpoint of one Service, and anything else elsewhere.
func (k compiler) seed(e cluster.Endpoint) uint64 {
	h := fnv.New64a()
	for _, text := range []string{k.node.Name, k.service.Name.String(), k.service.UID} {
		h.Write([]byte(text))
		h.Write([]byte{0})
	}
	addr, _ := e.Addr.MarshalBinary()
	h.Write(addr)
	h.Write([]byte{byte(e.Port >> 8), byte(e.Port)})
	return mix(h.Sum64())
}

// mix spreads what FNV leaves together for texts that differ in their last bytes only (the finalizer of MurmurHash3).
func mix(h uint64) uint64 {
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
