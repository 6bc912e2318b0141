package dataplane

import (
	"net/netip"
	"slices"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// RealServerID identifies a real server.
type RealServerID struct {
	VirtualServer VirtualServerID
	Endpoint      netip.AddrPort
}

// Drain returns the virtual server as it is to be programmed: want, and behind it at weight 0 those real servers of
// have that are no longer wanted and whose connections may finish. done reports whether the time of one is over: it is
// idle, or past its deadline.
//
// UDP has no connections to wait for: its real servers go at once, and so do all when the virtual server itself goes.
// That a real server drains is written nowhere but in the kernel, as its weight 0: a restart loses nothing.
func Drain(id VirtualServerID, want, have VirtualServer, done func(RealServerID) bool) VirtualServer {
	if id.Protocol == cluster.UDP {
		return want
	}
	wanted := positions(want.RealServers)
	want.RealServers = slices.Clone(want.RealServers)
	for _, present := range have.RealServers {
		rs := RealServerID{id, netip.AddrPortFrom(present.Addr, present.Port)}
		if _, is := wanted[rs.Endpoint]; !is && !done(rs) {
			want.RealServers = append(want.RealServers,
				RealServer{Addr: present.Addr, Port: present.Port, Upper: present.Upper, Lower: present.Lower})
		}
	}
	return want
}
