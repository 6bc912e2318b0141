package kerneltest

import (
	"errors"
	"maps"
	"math"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// virtualServer: one by one they are as they are together, those of others and those that are not there included.
func (s *suite) virtualServer() {
	s.become(services(0, 8))
	other := vs
	other.ID.Addr = other.ID.Addr.Next().Next()
	other.ID.Port = 4711 // in no set: somebody else's
	s.do(op(dataplane.Create, other))
	seen, err := s.k.Observe()
	if err != nil {
		s.Fatal(err)
	}
	all := maps.Clone(seen.State.VirtualServers)
	maps.Copy(all, seen.Foreign)
	if len(all) < 50 {
		s.Fatalf("%d virtual servers", len(all))
	}
	for id, want := range all {
		if got, present, err := s.k.VirtualServer(id); err != nil || !present || !got.Same(want) {
			s.Errorf("%s alone is %+v, %v, %v; with others %+v", id, got, present, err, want)
		}
	}
	other.ID.Port++
	if got, present, err := s.k.VirtualServer(other.ID); err != nil || present {
		s.Errorf("%s, which there is not: %+v, %v, %v", other.ID, got, present, err)
	}
}

// weightsOfOthers: somebody else's virtual servers have weights that we never write.
func (s *suite) weightsOfOthers() {
	s.do(everything()...)
	for _, addrs := range [][2]string{{"10.96.99.1", "10.244.9.9"}, {"fd00:96::9901", "fd00:244::99"}} {
		other := vs
		other.ID.Addr, other.ID.Port = netip.MustParseAddr(addrs[0]), 4711 // in no set
		s.do(op(dataplane.Create, other))
		want := map[netip.Addr]uint32{}
		for _, weight := range []uint32{0, 65535, 65536, math.MaxInt32} {
			r := rs
			r.VirtualServer, r.Addr, r.Weight = other.ID, netip.MustParseAddr(addrs[1]), weight
			for range len(want) {
				r.Addr = r.Addr.Next()
			}
			want[r.Addr] = weight
			s.do(op(dataplane.Create, r))
		}
		seen, err := s.k.Observe()
		if err != nil {
			s.Fatal(err)
		}
		alone, _, err := s.k.VirtualServer(other.ID)
		if err != nil {
			s.Fatal(err)
		}
		for how, v := range map[string]dataplane.VirtualServer{"with others": seen.Foreign[other.ID], "alone": alone} {
			got := map[netip.Addr]uint32{}
			for _, r := range v.RealServers {
				got[r.Addr] = r.Weight
			}
			if !maps.Equal(got, want) {
				s.Errorf("%s, read %s, has weights %v, want %v", other.ID, how, got, want)
			}
		}
	}
}

// inNamespace runs f in another thread of the same network namespace, and returns when it has ended by a channel.
func (s *suite) inNamespace(f func()) (ended chan struct{}) {
	s.Helper()
	const path = "/proc/thread-self/ns/net"
	own, err := os.Readlink(path)
	if err != nil {
		s.Fatal(err)
	}
	namespace, err := os.Open(path)
	if err != nil {
		s.Fatal(err)
	}
	ended = make(chan struct{})
	go func() {
		defer close(ended)
		defer namespace.Close()
		runtime.LockOSThread() // and never again for others
		if now, err := os.Readlink(path); err != nil || now != own {
			if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
				s.Errorf("enter the network namespace: %v", err)
				return
			}
		}
		f()
	}()
	return ended
}

// beside: what nobody touches is seen as it is, whatever else is written meanwhile, but for virtual servers, which may
// be overlooked. A quiet kernel is seen as the writer sees it.
func (s *suite) beside() {
	still := services(0, 40)
	s.become(still)
	churn := services(40, 400)
	for id, v := range still.VirtualServers {
		churn.SetVirtualServer(id, v)
	}
	churn.Entries.Merge(still.Entries)
	maps.Copy(churn.Addresses, still.Addresses)
	enough := make(chan struct{})
	ended := s.inNamespace(func() {
		defer close(enough)
		for range 5 {
			seen, err := s.reader.Summarize(dataplane.AllParts)
			if errors.Is(err, syscall.EINTR) {
				continue // addresses came and went too fast
			}
			if err != nil {
				s.Errorf("read beside the writer: %v", err)
				return
			}
			s.unchanged(still, seen)
		}
	})
	have, wants := still, []*dataplane.State{churn, still}
	for writing := true; writing; {
		s.do(dataplane.Diff(have, wants[0], dataplane.All(nil, have, wants[0]))...)
		have, wants = wants[0], []*dataplane.State{wants[1], wants[0]}
		select {
		case <-enough:
			writing = false
		default:
		}
	}
	<-ended
	<-s.inNamespace(func() {
		seen, err := s.reader.Summarize(dataplane.AllParts)
		if err != nil {
			s.Error(err)
			return
		}
		have := s.observe().Clone()
		servers := map[dataplane.VirtualServerID]dataplane.Digest{}
		for id, v := range have.VirtualServers {
			servers[id] = v.Digest()
			have.DropVirtualServer(id)
		}
		if seen.State.Text() != have.Text() || !maps.Equal(seen.Servers, servers) {
			s.Error("a quiet kernel is seen by the two as different")
		}
	})
}

// unchanged sees that what stays as it is was seen so.
func (s *suite) unchanged(still *dataplane.State, seen dataplane.Summary) {
	for e := range still.Entries.All() {
		if !seen.State.Entries.Has(e) {
			s.Errorf("entry %s is missing", e)
		}
	}
	for addr := range still.Addresses {
		if _, present := seen.State.Addresses[addr]; !present {
			s.Errorf("address %s is missing", addr)
		}
	}
	overlooked := 0
	for id, want := range still.VirtualServers {
		if got, present := seen.Servers[id]; !present {
			overlooked++
		} else if got != want.Digest() {
			s.Errorf("%s is another one, want %+v", id, want)
		}
	}
	if !seen.State.SameFoundation(still) {
		s.Errorf("sysctls, sets, chains or hooks are not as they are: sysctls %v; %v",
			seen.State.Sysctls, slices.Sorted(maps.Keys(seen.State.Sets)))
	}
	s.Logf("%d of %d virtual servers that stay were overlooked", overlooked, len(still.VirtualServers))
}
