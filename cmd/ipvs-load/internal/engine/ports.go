package engine

import (
	"errors"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// sourcePorts gives out the kernel's ports for clients in turn, from any one on: none comes back before all others have
// had their turn. A port that the kernel picks is, now and then, one that it picked a moment ago. To the same target it
// then belongs to the older flow, for which IPVS and connection tracking may hold another endpoint.
type sourcePorts struct {
	all  []uint16 // empty where the kernel does not say which there are
	next atomic.Uint64
}

// portTries is how many ports are tried that somebody else has, before the kernel is asked to find one.
const portTries = 64

// newSourcePorts reads which ports are for clients (net.ipv4.ip_local_port_range and ip_local_reserved_ports, which
// hold for IPv6, too).
func newSourcePorts() *sourcePorts {
	limits, _ := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	reserved, _ := os.ReadFile("/proc/sys/net/ipv4/ip_local_reserved_ports")
	p := &sourcePorts{all: portsBetween(string(limits), string(reserved))}
	if len(p.all) > 0 {
		p.next.Store(rand.Uint64N(uint64(len(p.all))))
	}
	return p
}

// portsBetween returns the ports of a range, "32768 60999", without those that are reserved, "8080,9148-9150".
func portsBetween(limits, reserved string) (all []uint16) {
	out := map[int]bool{}
	for part := range strings.SplitSeq(strings.TrimSpace(reserved), ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		a, errA := strconv.Atoi(first)
		b, errB := strconv.Atoi(last)
		for ; errA == nil && errB == nil && a <= b; a++ {
			out[a] = true
		}
	}
	words := strings.Fields(limits)
	if len(words) != 2 {
		return nil
	}
	first, errFirst := strconv.ParseUint(words[0], 10, 16)
	last, errLast := strconv.ParseUint(words[1], 10, 16)
	if errFirst != nil || errLast != nil {
		return nil
	}
	for port := max(1, int(first)); port <= int(last); port++ {
		if !out[port] {
			all = append(all, uint16(port))
		}
	}
	return all
}

// bind gives the socket the next port that is free, and the route's source. It leaves both to the kernel where neither
// is known.
func (p *sourcePorts) bind(fd int, r *route) error {
	for range min(portTries, len(p.all)) {
		port := p.all[p.next.Add(1)%uint64(len(p.all))]
		if err := unix.Bind(fd, r.source(port)); !errors.Is(err, unix.EADDRINUSE) {
			return err
		}
	}
	if r.from == nil {
		return nil
	}
	return unix.Bind(fd, r.from)
}

// source is the route's source with that port; the kernel chooses the address where the user named none. The value is
// the same at each call.
func (r *route) source(port uint16) unix.Sockaddr {
	if r.domain == unix.AF_INET {
		r.source4.Port = int(port)
		if from, named := r.from.(*unix.SockaddrInet4); named {
			r.source4.Addr = from.Addr
		}
		return &r.source4
	}
	r.source6.Port = int(port)
	if from, named := r.from.(*unix.SockaddrInet6); named {
		r.source6.Addr, r.source6.ZoneId = from.Addr, from.ZoneId
	}
	return &r.source6
}
