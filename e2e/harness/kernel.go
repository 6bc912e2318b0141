package harness

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/moby/ipvs"
	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// Kernel reads the virtual servers of a host.
type Kernel struct {
	handle *ipvs.Handle
	host   *topology.Host
}

// OpenKernel opens the host's IPVS. The host remembers nothing of it.
func OpenKernel(h *topology.Host) (*Kernel, error) {
	k := &Kernel{host: h}
	err := h.Do(func() (err error) {
		k.handle, err = ipvs.New("")
		return err
	})
	return k, err
}

// Close releases the socket.
func (k *Kernel) Close() { k.handle.Close() }

// Handle gives the library's handle, for tests that interfere.
func (k *Kernel) Handle() *ipvs.Handle { return k.handle }

// RealServer is one of a virtual server.
type RealServer struct {
	Address netip.AddrPort
	Weight  int
	Active  int
}

// VirtualServer is one with its real servers in order of their addresses.
type VirtualServer struct {
	Scheduler   string
	Flags       uint32
	Timeout     uint32
	RealServers []RealServer
	// Connections is how many connections it has got since it was made.
	Connections uint32
}

// VirtualServer returns the virtual server for the protocol, tcp or udp, and address; nil when there is none.
func (k *Kernel) VirtualServer(network string, at netip.AddrPort) (*VirtualServer, error) {
	s := &ipvs.Service{
		AddressFamily: family(at.Addr()), Protocol: protocol(network), Address: at.Addr().AsSlice(), Port: at.Port(),
		SchedName: "rr",
	}
	if !k.handle.IsServicePresent(s) {
		return nil, nil
	}
	found, err := k.handle.GetService(s)
	if err != nil {
		return nil, err
	}
	destinations, err := k.handle.GetDestinations(found)
	if err != nil {
		return nil, err
	}
	v := &VirtualServer{
		Scheduler: found.SchedName, Flags: found.Flags, Timeout: found.Timeout, Connections: found.Stats.Connections,
	}
	for _, d := range destinations {
		addr, _ := netip.AddrFromSlice(d.Address)
		v.RealServers = append(v.RealServers,
			RealServer{Address: netip.AddrPortFrom(addr.Unmap(), d.Port), Weight: d.Weight, Active: d.ActiveConnections})
	}
	slices.SortFunc(v.RealServers, func(a, b RealServer) int { return a.Address.Compare(b.Address) })
	return v, nil
}

// Count returns how many virtual servers there are.
func (k *Kernel) Count() (int, error) {
	services, err := k.handle.GetServices()
	return len(services), err
}

// Text describes a virtual server in one line: "rr 10.244.1.2:8080/1 10.244.1.3:8080/0", weights after the slash.
func (v *VirtualServer) Text() string {
	if v == nil {
		return "none"
	}
	words := []string{v.Scheduler}
	for _, r := range v.RealServers {
		words = append(words, fmt.Sprintf("%s/%d", r.Address, r.Weight))
	}
	return strings.Join(words, " ")
}

func family(a netip.Addr) uint16 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func protocol(network string) uint16 {
	if network == "udp" {
		return unix.IPPROTO_UDP
	}
	return unix.IPPROTO_TCP
}
