package kernel

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"syscall"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// Faulty is a kernel that fails at random, in the two ways in which a real one does: an operation is refused, or it is
// carried out and the answer gets lost. The same seed gives the same faults.
type Faulty struct {
	dataplane.Kernel
	// Rate is the probability that a call or an operation fails, from 0 to 1.
	Rate float64
	// Burst is how many answers may be lost together with one, as when a receive buffer overruns.
	Burst int
	// Faults counts the failures made so far.
	Faults int

	random *rand.Rand
}

// NewFaulty wraps inner.
func NewFaulty(inner dataplane.Kernel, rate float64, seed uint64) *Faulty {
	return &Faulty{Kernel: inner, Rate: rate, random: rand.New(rand.NewPCG(seed, seed))}
}

// Observe implements dataplane.Kernel.
func (f *Faulty) Observe() (dataplane.Observation, error) {
	if f.fails() {
		return dataplane.Observation{}, fmt.Errorf("injected: %w", syscall.EINTR)
	}
	return f.Kernel.Observe()
}

// NodeAddresses implements dataplane.Kernel.
func (f *Faulty) NodeAddresses() (addresses, broadcasts []netip.Addr, err error) {
	if f.fails() {
		return nil, nil, fmt.Errorf("injected: %w", syscall.EINTR)
	}
	return f.Kernel.NodeAddresses()
}

// Glance implements dataplane.Kernel.
func (f *Faulty) Glance(parts dataplane.Parts) (dataplane.Glance, error) {
	if f.fails() {
		return dataplane.Glance{}, fmt.Errorf("injected: %w", syscall.EINTR)
	}
	return f.Kernel.Glance(parts)
}

// VirtualServer implements dataplane.Kernel.
func (f *Faulty) VirtualServer(id dataplane.VirtualServerID) (v dataplane.VirtualServer, present bool, err error) {
	if f.fails() {
		return v, false, fmt.Errorf("injected: %w", syscall.EINTR)
	}
	return f.Kernel.VirtualServer(id)
}

// Connections implements dataplane.Kernel.
func (f *Faulty) Connections(id dataplane.VirtualServerID) ([]dataplane.Connections, error) {
	if f.fails() {
		return nil, fmt.Errorf("injected: %w", syscall.EINTR)
	}
	return f.Kernel.Connections(id)
}

// Forget implements dataplane.Kernel.
func (f *Faulty) Forget(flows map[dataplane.VirtualServerID][]netip.AddrPort) (deleted int, err error) {
	if f.fails() {
		return 0, fmt.Errorf("injected: %w", syscall.EINTR)
	}
	return f.Kernel.Forget(flows)
}

// CutOff implements dataplane.Kernel.
func (f *Faulty) CutOff(allowed map[dataplane.VirtualServerID][]netip.Prefix) (deleted int, err error) {
	if f.fails() {
		return 0, fmt.Errorf("injected: %w", syscall.EINTR)
	}
	return f.Kernel.CutOff(allowed)
}

// Apply implements dataplane.Kernel.
func (f *Faulty) Apply(ops []dataplane.Op) []error {
	errs := make([]error, len(ops))
	lost := 0 // of so many operations more no answer comes
	for i, op := range ops {
		switch {
		case lost > 0:
			errs[i] = f.lose(op)
			lost--
		case !f.fails():
			errs[i] = f.Kernel.Apply([]dataplane.Op{op})[0]
		case f.random.IntN(4) == 0:
			errs[i] = f.lose(op)
			lost = f.random.IntN(f.Burst + 1)
		default:
			errs[i] = fmt.Errorf("injected: %s: %w", op, syscall.ENOMEM)
		}
	}
	return errs
}

// lose has the operation carried out, or refused, and the answer lost: ENOBUFS means that nobody knows. Sometimes a
// refusal is known.
func (f *Faulty) lose(op dataplane.Op) error {
	if err := f.Kernel.Apply([]dataplane.Op{op})[0]; err != nil && f.random.IntN(2) == 0 {
		return err
	}
	return fmt.Errorf("injected: %s: %w", op, syscall.ENOBUFS)
}

func (f *Faulty) fails() bool {
	if f.random.Float64() >= f.Rate {
		return false
	}
	f.Faults++
	return true
}

// Reader returns a Reader that fails as often, with a chance of its own.
func (f *Faulty) Reader(inner dataplane.Reader) dataplane.Reader {
	return faultyReader{inner, &Faulty{Rate: f.Rate, random: rand.New(rand.NewPCG(f.random.Uint64(), 0))}}
}

type faultyReader struct {
	dataplane.Reader
	faults *Faulty
}

// Summarize implements dataplane.Reader.
func (r faultyReader) Summarize(parts dataplane.Parts) (dataplane.Summary, error) {
	if r.faults.fails() {
		return dataplane.Summary{}, fmt.Errorf("injected: %w", syscall.EINTR)
	}
	return r.Reader.Summarize(parts)
}
