package kernel

import (
	wire "github.com/ipvs-proxier/ipvs-proxier/internal/ipvs"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// ConnectionCounter reads connection counts over a socket of its own, beside a Linux that is in use.
type ConnectionCounter struct{ linux Linux }

// NewConnectionCounter opens the socket, in the network namespace of the calling thread.
func NewConnectionCounter() (*ConnectionCounter, error) {
	v, err := newIPVS()
	if err != nil {
		return nil, err
	}
	return &ConnectionCounter{Linux{ipvs: v}}, nil
}

// Close closes the socket.
func (c *ConnectionCounter) Close() error { return c.linux.Close() }

// VirtualServer returns a virtual server as the kernel has it now, with the connections of its real servers in their
// order. present is false when there is none.
func (c *ConnectionCounter) VirtualServer(
	id dataplane.VirtualServerID,
) (dataplane.VirtualServer, bool, []dataplane.Connections, error) {
	var counts []dataplane.Connections
	v, present, err := c.linux.ipvs.look(id, func() { counts = nil },
		func(d wire.Destination) { counts = append(counts, connections(d)) })
	return v, present, counts, err
}
