package kernel_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel/kerneltest"
)

func TestMemoryKeepsTheContract(t *testing.T) {
	kerneltest.Run(t, func(*testing.T) (kerneltest.Kernel, kerneltest.Reader, kerneltest.Flows) {
		m := kernel.NewMemory()
		return m, m.Reader(), &memoryFlows{Memory: m}
	})
}

func TestMemoryThatKeepsSourcesKeepsTheContract(t *testing.T) {
	kerneltest.Run(t, func(*testing.T) (kerneltest.Kernel, kerneltest.Reader, kerneltest.Flows) {
		m := kernel.NewMemory()
		m.KeepsSources = true
		return m, m.Reader(), &memoryFlows{Memory: m}
	})
}

func TestFaultyWithoutFaultsKeepsTheContract(t *testing.T) {
	kerneltest.Run(t, func(*testing.T) (kerneltest.Kernel, kerneltest.Reader, kerneltest.Flows) {
		m := kernel.NewMemory()
		f := kernel.NewFaulty(m, 0, 1)
		return f, f.Reader(m.Reader()), &memoryFlows{Memory: m}
	})
}

// memoryFlows implements kerneltest.Flows.
type memoryFlows struct {
	*kernel.Memory
	networks []netip.Prefix
}

func (m *memoryFlows) Send(port uint16, to netip.AddrPort) error {
	m.Memory.Send(netip.AddrPortFrom(to.Addr(), port), to)
	return nil
}

func (m *memoryFlows) Track(flows ...kernel.Flow) error {
	m.Flows = append(m.Flows, flows...)
	return nil
}

func (m *memoryFlows) Address(addr netip.Addr, present bool) error {
	return m.Network(netip.PrefixFrom(addr, addr.BitLen()), present)
}

func (m *memoryFlows) Network(network netip.Prefix, present bool) error {
	m.networks = slices.DeleteFunc(m.networks, func(n netip.Prefix) bool { return n == network })
	if present {
		m.networks = append(m.networks, network)
	}
	m.SetNetworks(m.networks...)
	return nil
}

func (m *memoryFlows) List() ([]kernel.Flow, error) { return slices.Clone(m.Flows), nil }
