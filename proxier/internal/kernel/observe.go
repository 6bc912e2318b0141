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
	_, err := k.observe(&seen, dataplane.AllParts, func(id dataplane.VirtualServerID, v dataplane.VirtualServer) {
		v.RealServers = room.keep(v.RealServers)
		seen.State.SetVirtualServer(id, v)
	})
	k.servers = len(seen.State.VirtualServers)
	return seen, err
}

// summarize reads these parts of the same, and keeps digests of virtual servers only.
func (k *Linux) summarize(parts dataplane.Parts) (sum dataplane.Summary, err error) {
	room := func(part dataplane.Parts, n int) int {
		if parts.Has(part) {
			return n
		}
		return 0
	}
	sum.Observation = newObservation(0, room(dataplane.PartSets, k.entries), room(dataplane.PartAddresses, k.addresses))
	sum.Servers = make(map[dataplane.VirtualServerID]dataplane.Digest, room(dataplane.PartServers, k.servers))
	sum.Parts, err = k.observe(&sum.Observation, parts,
		func(id dataplane.VirtualServerID, v dataplane.VirtualServer) { sum.Servers[id] = v.Digest() })
	if parts.Has(dataplane.PartServers) {
		k.servers = len(sum.Servers)
	}
	return sum, err
}

func newObservation(servers, entries, addresses int) dataplane.Observation {
	return dataplane.Observation{State: dataplane.NewStateFor(servers, entries,
		addresses), Foreign: map[dataplane.VirtualServerID]dataplane.VirtualServer{}}
}

// observe reads parts of the kernel into seen, and calls each for the virtual servers that are ours; the list of their
// real servers is good until it returns. It returns which parts it has read.
func (k *Linux) observe(
	seen *dataplane.Observation, parts dataplane.Parts, each func(dataplane.VirtualServerID, dataplane.VirtualServer),
) (read dataplane.Parts, err error) {
	if parts.Has(dataplane.PartSysctls) {
		if err := k.observeSysctls(seen.State); err != nil {
			return 0, err
		}
	}
	if parts.Has(dataplane.PartAddresses) {
		if err := k.observeAddresses(seen); err != nil {
			return 0, err
		}
	}
	if parts.Has(dataplane.PartSockets) {
		if seen.Listeners, err = listeners(); err != nil {
			return 0, fmt.Errorf("list sockets: %w", err)
		}
	}
	inNetfilter, err := k.netfilter.observe(seen, parts)
	if err != nil {
		return 0, err
	}
	if inNetfilter.Has(dataplane.PartSets) {
		k.entries = seen.State.Entries.Len()
	}
	if parts.Has(dataplane.PartServers) {
		if err := k.observeServers(seen, each); err != nil {
			return 0, err
		}
	}
	return parts | inNetfilter, nil
}

func (k *Linux) observeSysctls(s *dataplane.State) error {
	for _, name := range k.config.Sysctls {
		value, err := k.Sysctl(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it reads as unset; writing it will return the error
		}
		if err != nil {
			return err
		}
		s.Sysctls[name] = value
	}
	return nil
}

func (k *Linux) observeAddresses(seen *dataplane.Observation) error {
	s := seen.State
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
	k.addresses = len(s.Addresses)
	return nil
}

func (k *Linux) observeServers(
	seen *dataplane.Observation, each func(dataplane.VirtualServerID, dataplane.VirtualServer),
) error {
	s := seen.State
	err := k.ipvs.observe(func(id dataplane.VirtualServerID, v dataplane.VirtualServer) {
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
	return nil
}

func (k *Linux) excluded(id dataplane.VirtualServerID) bool {
	return slices.ContainsFunc(k.config.Exclude, func(network netip.Prefix) bool { return network.Contains(id.Addr) })
}

// slab is one allocation for many small lists.
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
