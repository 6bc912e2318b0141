package kernel

import (
	"sync"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// LinuxReader reads the kernel in another goroutine, by sockets of its own, while the Linux that it stands beside is in
// use.
type LinuxReader struct{ linux *Linux }

// OpenReader opens a LinuxReader, in the network namespace of the calling thread. Any goroutine may call it. The two
// share how chains are spelled, and the lock on the sysctl that is off while real servers are deleted.
func (k *Linux) OpenReader() (*LinuxReader, error) {
	other, err := NewLinux(k.config)
	if err != nil {
		return nil, err
	}
	other.ipvs.expiry, other.beside = k.ipvs.expiry, k.beside
	k.netfilter.share(other.netfilter)
	return &LinuxReader{other}, nil
}

// Summarize implements dataplane.Reader.
func (r *LinuxReader) Summarize(parts dataplane.Parts) (dataplane.Summary, error) {
	before := r.linux.own()
	defer func() { r.linux.beside.add(before, r.linux.own()) }()
	return r.linux.summarize(parts.Complete())
}

// Close implements dataplane.Reader.
func (r *LinuxReader) Close() error { return r.linux.Close() }

// trafficSum adds up the traffic of several goroutines.
type trafficSum struct {
	mu  sync.Mutex
	sum Traffic
}

func (s *trafficSum) add(from, to Traffic) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sum.Messages += to.Messages - from.Messages
	s.sum.Sends += to.Sends - from.Sends
	s.sum.Processes += to.Processes - from.Processes
}

func (s *trafficSum) load() Traffic {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sum
}
