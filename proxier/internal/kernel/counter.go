package kernel

import (
	wire "github.com/ipvs-proxier/ipvs-proxier/internal/ipvs"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// ConnectionCounter reads connection counts over a socket of its own, beside a Linux that is in use.
type ConnectionCounter struct{ linux Linux }

// NewConnectionCounter opens one.
func NewConnectionCounter() (*ConnectionCounter, error) {
	v, err := newIPVS()
	if err != nil {
		return nil, err
	}
	return &ConnectionCounter{Linux{ipvs: v}}, nil
}

// Close closes it.
func (c *ConnectionCounter) Close() error { return c.linux.Close() }

// RealServers returns the real servers of a virtual server as the kernel has them now, with their connections.
func (c *ConnectionCounter) RealServers(id dataplane.VirtualServerID) ([]dataplane.RealServer, []dataplane.Connections, error) {
	var servers []dataplane.RealServer
	var counts []dataplane.Connections
	err := c.linux.ipvs.destinations(id, func() { servers, counts = nil, nil }, func(d wire.Destination) {
		servers = append(servers, realServer(d))
		counts = append(counts, connections(d))
	})
	return servers, counts, err
}
