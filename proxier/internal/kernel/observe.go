package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// Observe implements dataplane.Kernel.
func (k *Linux) Observe() (dataplane.Observation, error) {
	// There will be about as much as at the last look.
	seen := newObservation(k.servers, k.entries, k.addresses)
	var room slab
	err := k.observe(&seen, func(id dataplane.VirtualServerID, v dataplane.VirtualServer) {
		v.RealServers = room.keep(v.RealServers)
		seen.State.SetVirtualServer(id, v)
	})
	k.servers = len(seen.State.VirtualServers)
	return seen, err
}

// summarize reads the same, and keeps digests of virtual servers only.
func (k *Linux) summarize() (dataplane.Summary, error) {
	sum := dataplane.Summary{Observation: newObservation(0, k.entries, k.addresses), Servers: make(map[dataplane.VirtualServerID]dataplane.Digest, k.servers)}
	err := k.observe(&sum.Observation, func(id dataplane.VirtualServerID, v dataplane.VirtualServer) { sum.Servers[id] = v.Digest() })
	k.servers = len(sum.Servers)
	return sum, err
}

func newObservation(servers, entries, addresses int) dataplane.Observation {
	return dataplane.Observation{State: dataplane.NewStateFor(servers, entries, addresses), Foreign: map[dataplane.VirtualServerID]dataplane.VirtualServer{}}
}

// observe reads the kernel into seen, and calls each for the virtual servers that are ours; the list of their real
// servers is good until it returns.
func (k *Linux) observe(seen *dataplane.Observation, each func(dataplane.VirtualServerID, dataplane.VirtualServer)) error {
	s := seen.State
	for _, name := range k.config.Sysctls {
		value, err := k.Sysctl(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it reads as unset; writing it will tell
		}
		if err != nil {
			return err
		}
		s.Sysctls[name] = value
	}
	present, ours, others, err := k.link.observe()
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	if present {
		s.Links[k.config.Link] = struct{}{}
	}
	for _, addr := range ours {
		s.Addresses[addr] = struct{}{}
	}
	if s.Routes, err = k.link.routes(k.config.Families); err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	seen.NodeAddresses = others
	if seen.Broadcasts, err = k.link.broadcasts(); err != nil {
		return fmt.Errorf("list broadcast addresses: %w", err)
	}
	if seen.Listeners, err = listeners(); err != nil {
		return fmt.Errorf("list sockets: %w", err)
	}
	if err := k.netfilter.observe(seen); err != nil {
		return err
	}
	err = k.ipvs.observe(func(id dataplane.VirtualServerID, v dataplane.VirtualServer) {
		if s.Recorded(id) || s.Owns(id) && !k.excluded(id) {
			each(id, v)
		} else {
			v.RealServers = slices.Clone(v.RealServers)
			seen.Foreign[id] = v
		}
	})
	if err != nil {
		return fmt.Errorf("list virtual servers: %w", err)
	}
	seen.Connections = k.ipvs.connections
	k.entries, k.addresses = s.Entries.Len(), len(s.Addresses)
	return nil
}

func (k *Linux) excluded(id dataplane.VirtualServerID) bool {
	return slices.ContainsFunc(k.config.Exclude, func(network netip.Prefix) bool { return network.Contains(id.Addr) })
}

// slab is room for many small lists, so that they are not allocated one by one.
type slab struct{ free []dataplane.RealServer }

const slabSize = 512

// keep returns a copy of the list.
func (s *slab) keep(list []dataplane.RealServer) []dataplane.RealServer {
	if len(list) == 0 {
		return nil
	}
	if len(list) > len(s.free) {
		s.free = make([]dataplane.RealServer, max(slabSize, len(list)))
	}
	kept := s.free[:len(list):len(list)]
	s.free = s.free[len(list):]
	copy(kept, list)
	return kept
}
