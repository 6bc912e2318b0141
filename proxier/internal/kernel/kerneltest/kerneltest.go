// Package kerneltest is the contract that every kernel behind dataplane.Kernel keeps: the one in memory, the
// fault-injecting one without faults, and Linux.
package kerneltest

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// Kernel and Reader are what the contract is about.
type (
	Kernel = dataplane.Kernel
	Reader = dataplane.Reader
)

// Config is what the tests program. A kernel that has to know families, link or sysctls beforehand is opened with it.
var Config = dataplane.Config{
	Link: "kube-ipvs0", Families: []cluster.Family{cluster.IPv4, cluster.IPv6}, MasqueradeMark: 1 << 14, StrictARP: true,
	Pods:       dataplane.Pods{CIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix("::/0")}},
	Facts:      dataplane.Facts{KernelMajor: 6, KernelMinor: 1, RandomFully: true, IPVSMatch: true},
	TCPTimeout: 2 * time.Hour, TCPFinTimeout: time.Minute, UDPTimeout: 20 * time.Second,
}

// Run runs the contract. open returns a kernel that holds nothing of ours, a Reader beside it, and its connection
// tracking; it is called once for each subtest.
func Run(t *testing.T, open func(t *testing.T) (Kernel, Reader, Flows)) {
	for _, c := range []struct {
		name string
		test func(*suite)
	}{
		{"holds what was written and nothing else", (*suite).roundTrip},
		{"goes from any state to any other", (*suite).transitions},
		{"refuses to create what exists", (*suite).existing},
		{"refuses to change and to delete what is missing", (*suite).missing},
		{"refuses what has nothing to stand on", (*suite).foundations},
		{"does what comes after a failed operation", (*suite).failuresInTheMiddle},
		{"puts chains and hooks in place whether they are there or not", (*suite).overwrite},
		{"takes real servers along with their virtual server", (*suite).cascades},
		{"keeps real servers when their virtual server is updated", (*suite).updates},
		{"holds every weight, timeout and flag", (*suite).values},
		{"puts a real server that is new or renewed at the head of the list", (*suite).list},
		{"refuses real servers that are no single machine's address", (*suite).notUnicast},
		{"holds every type of set", (*suite).sets},
		{"gives a set another size in place", (*suite).resizing},
		{"makes a set of another type anew where no rule uses it", (*suite).renewing},
		{"exchanges a set for one of another type under the rules that use it", (*suite).retyping},
		{"carries out thousands of operations at once", (*suite).thousands},
		{"answers an unknown object with a bug", (*suite).unknown},
		{"counts no connections where there are none", (*suite).connections},
		{"holds each sysctl apart from the others", (*suite).sysctls},
		{"holds routes beside addresses, and goes from one to the other", (*suite).routeTransitions},
		{"refuses of routes what cannot be, and puts one in the place of another", (*suite).routes},
		{"keeps routes whatever becomes of addresses and the link", (*suite).routesStay},
		{"forgets the flows of real servers that are gone", (*suite).forget},
		{"cuts off clients that may not reach a front end any more", (*suite).cutOff},
		{"shows one virtual server as it shows all", (*suite).virtualServer},
		{"shows the weights of others, whatever they are", (*suite).weightsOfOthers},
		{"is read by another goroutine while it is written", (*suite).beside},
		{"shows parts as it shows all", (*suite).parts},
	} {
		t.Run(c.name, func(t *testing.T) {
			k, reader, flows := open(t)
			c.test(&suite{t, k, reader, flows})
		})
	}
}

type suite struct {
	*testing.T
	k      Kernel
	reader Reader
	flows  Flows
}

func (s *suite) observe() *dataplane.State {
	s.Helper()
	seen, err := s.k.Observe()
	if err != nil {
		s.Fatal(err)
	}
	return seen.State
}

// do carries out operations that must succeed.
func (s *suite) do(ops ...dataplane.Op) {
	s.Helper()
	for _, err := range s.k.Apply(ops) {
		if err != nil {
			s.Fatal(err)
		}
	}
}

// refused carries out an operation that must fail, with one of these errors if there are any, and must change nothing.
func (s *suite) refused(op dataplane.Op, with ...error) {
	s.Helper()
	before := s.observe().Text()
	errs := s.k.Apply([]dataplane.Op{op})
	if len(errs) != 1 || errs[0] == nil {
		s.Errorf("%s: %v; want an error", op, errs)
		return
	}
	if len(with) > 0 && !slices.ContainsFunc(with, func(want error) bool { return errors.Is(errs[0], want) }) {
		s.Errorf("%s: %v; want one of %v", op, errs[0], with)
	}
	if diff := cmp.Diff(before, s.observe().Text()); diff != "" {
		s.Errorf("%s failed and changed (-before +after):\n%s", op, diff)
	}
}

func (s *suite) same(want *dataplane.State) {
	s.Helper()
	if diff := cmp.Diff(strings.Split(want.Text(), "\n"), strings.Split(s.observe().Text(), "\n")); diff != "" {
		s.Fatalf("(-want +observed):\n%s", diff)
	}
}

// become goes to the state and sees that it is there, that nothing is left to be done, and that asking again says the
// same.
func (s *suite) become(want *dataplane.State) {
	s.Helper()
	have := s.observe()
	s.do(dataplane.Diff(have, want, dataplane.All(nil, have, want))...)
	s.same(want)
	have = s.observe()
	if ops := dataplane.Diff(have, want, dataplane.All(nil, have, want)); len(ops) > 0 {
		s.Fatalf("still to be done: %v", ops)
	}
}

// services returns the state with Services a to a+n-1, of both families and all protocols.
func services(a, n int) *dataplane.State { return servicesBy(Config, dataplane.Sources{}, a, n) }

func servicesBy(c dataplane.Config, sources dataplane.Sources, a, n int) *dataplane.State {
	w := dataplane.NewWant(dataplane.Foundation(c))
	w.Prefer(sources)
	node := dataplane.Node{
		Name: "n1", Addresses: []netip.Addr{netip.MustParseAddr("192.168.50.1"), netip.MustParseAddr("fd00:50::1")},
	}
	for i := a; i < a+n; i++ {
		s := cluster.Service{
			Name: cluster.Name{Namespace: "ns", Name: fmt.Sprint(i)},
			ClusterIPs: []netip.Addr{
				netip.AddrFrom4([4]byte{10, 96, byte(i >> 8), byte(i)}), netip.MustParseAddr(fmt.Sprintf("fd00:96::%x", i+1)),
			},
		}
		if i%3 == 0 {
			s.Affinity = 3 * time.Hour
		}
		for j, protocol := range []cluster.Protocol{cluster.TCP, cluster.UDP, cluster.SCTP} {
			port := cluster.ServicePort{Protocol: protocol, Port: uint16(80 + j), Scheduler: []string{"rr", "lc", "sh"}[i%3]}
			if i%2 == 0 {
				port.NodePort = uint16(30000 + i)
			}
			for e := range i % 4 {
				port.Endpoints = append(port.Endpoints,
					cluster.Endpoint{Addr: netip.AddrFrom4([4]byte{10, 244, byte(i), byte(e + 1)}), Port: 8080, Ready: true},
					cluster.Endpoint{
						Addr: netip.MustParseAddr(fmt.Sprintf("fd00:244::%x:%x", i, e+1)), Port: 8080, Ready: true, Remote: true,
					})
			}
			s.Ports = append(s.Ports, port)
		}
		w.Set(dataplane.Compile(s, node, c), map[cluster.Name]struct{}{})
	}
	return w.State
}

func (s *suite) roundTrip() { s.become(services(0, 8)) }

func (s *suite) transitions() {
	for _, want := range []*dataplane.State{services(0, 3), services(2, 5), services(4, 1), services(1, 6)} {
		s.become(want)
	}
	have := s.observe()
	s.do(dataplane.Diff(have, dataplane.NewState(), dataplane.All(nil, have))...)
	for line := range strings.Lines(s.observe().Text()) {
		if !strings.HasPrefix(line, "sysctl ") {
			s.Errorf("left: %s", line)
		}
	}
}

func op(verb dataplane.Verb, o dataplane.Object) dataplane.Op {
	return dataplane.Op{Verb: verb, Object: o}
}

// The objects of the single operations.
var (
	id  = dataplane.VirtualServerID{Addr: netip.MustParseAddr("10.96.0.1"), Port: 80, Protocol: cluster.TCP}
	id6 = dataplane.VirtualServerID{Addr: netip.MustParseAddr("fd00:96::1"), Port: 80, Protocol: cluster.UDP}
	vs  = dataplane.VirtualServerObject{ID: id, Scheduler: "rr"}
	rs  = dataplane.RealServerObject{
		VirtualServer: id, RealServer: dataplane.RealServer{Addr: netip.MustParseAddr("10.244.0.1"), Port: 8080, Weight: 1},
	}
	entry    = dataplane.SetEntry{Set: dataplane.SetVIP, Type: ipset.HashIP, Entry: ipset.Entry{Addr: id.Addr}}
	frontEnd = dataplane.SetEntry{
		Set: dataplane.SetFrontEnd, Type: ipset.HashIPPort, Entry: ipset.Entry{Addr: id.Addr, Protocol: 6, Port: 80},
	}
	address = dataplane.Address{Addr: id.Addr}
	link    = dataplane.Link{Name: "kube-ipvs0"}
	vipSet  = dataplane.Set{
		Set: ipset.Set{Name: dataplane.SetVIP, Type: ipset.HashIP, Family: ipset.IPv4, HashSize: 1024, MaxElem: 65536},
	}
	ledger = dataplane.Set{
		Set: ipset.Set{
			Name: dataplane.SetFrontEnd, Type: ipset.HashIPPort, Family: ipset.IPv4, HashSize: 1024, MaxElem: 65536,
		},
	}
	chain = dataplane.Chain{
		ID:   dataplane.ChainID{Family: cluster.IPv4, Table: "filter", Name: dataplane.ChainInput},
		Sets: []string{dataplane.SetVIP},
		Rules: []dataplane.Rule{{
			Matches: []dataplane.Match{dataplane.InSet{Set: dataplane.SetVIP, By: dataplane.ByDestination}},
			Verdict: dataplane.Verdict{Action: dataplane.Accept},
		}},
	}
	hook = dataplane.Hook{
		Chain: chain.ID, Builtin: "INPUT", Match: dataplane.HookMatch{Connection: opening}, Comment: "ipvs-proxier: test",
	}
)

var opening = dataplane.Connection{State: dataplane.Related | dataplane.Established, Not: true, Unconfirmed: true}

// everything makes one object of each kind, in order.
func everything() (ops []dataplane.Op) {
	for _, o := range []dataplane.Object{link, vipSet, ledger, entry, frontEnd, chain, hook, vs, rs, address} {
		ops = append(ops, op(dataplane.Create, o))
	}
	return ops
}

func (s *suite) existing() {
	s.do(everything()...)
	for _, o := range []dataplane.Object{link, vipSet, entry, vs, rs, address} {
		s.refused(op(dataplane.Create, o), syscall.EEXIST)
	}
}

func (s *suite) missing() {
	s.do(op(dataplane.Create, vipSet), op(dataplane.Create, ledger), op(dataplane.Create, frontEnd))
	// A chain that is missing may be deleted: that it is gone is all that counts.
	for _, o := range []dataplane.Object{link, ledgerless(vipSet), entry, hook, vs, rs, address} {
		s.refused(op(dataplane.Delete, o))
	}
	s.refused(op(dataplane.Update, vs), syscall.ESRCH)
	s.refused(op(dataplane.Update, rs), syscall.ESRCH)
	s.do(op(dataplane.Create, vs))
	s.refused(op(dataplane.Update, rs), syscall.ENOENT)
	s.refused(op(dataplane.Delete, rs), syscall.ENOENT)
	s.do(op(dataplane.Create, link))
	s.refused(op(dataplane.Delete, address), syscall.EADDRNOTAVAIL)
}

// ledgerless is a set of another name, which does not exist.
func ledgerless(set dataplane.Set) dataplane.Set {
	set.Name = dataplane.SetHairpin
	return set
}

func (s *suite) foundations() {
	s.refused(op(dataplane.Create, entry), syscall.ENOENT) // no set
	s.refused(op(dataplane.Create, chain))                 // no set
	s.refused(op(dataplane.Create, hook))                  // no chain
	s.refused(op(dataplane.Create, rs), syscall.ESRCH)     // no virtual server
	s.refused(op(dataplane.Create, address), syscall.ENODEV)
	s.do(everything()...)
	s.refused(op(dataplane.Delete, vipSet)) // a rule names it
	s.refused(op(dataplane.Delete, chain))  // a hook leads to it
}

func (s *suite) failuresInTheMiddle() {
	s.do(op(dataplane.Create, link), op(dataplane.Create, vipSet), op(dataplane.Create, ledger))
	var ops []dataplane.Op
	at := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 96, byte(1 + i/200), byte(i % 200)}) }
	for i := range 600 {
		e := frontEnd
		e.Entry.Addr = at(i)
		ops = append(ops, op(dataplane.Create, e))
	}
	for i := range 600 {
		v := vs
		v.ID.Addr = at(i)
		ops = append(ops, op(dataplane.Create, v))
	}
	for i := range 600 {
		ops = append(ops, op(dataplane.Create, dataplane.Address{Addr: at(i)}))
	}
	for _, i := range []int{0, 127, 128, 255, 256, 499, 500, 511, 512, 599, 600, 727, 728, 1199, 1200, 1500, 1799} {
		ops = slices.Insert(ops, i, ops[max(0, i-1)])
	}
	for i, err := range s.k.Apply(ops) {
		repeated := i > 0 && ops[i].String() == ops[i-1].String()
		if (err != nil) != repeated {
			s.Errorf("operation %d, %s: %v; repeated: %v", i, ops[i], err, repeated)
		}
		if err != nil && !errors.Is(err, syscall.EEXIST) {
			s.Errorf("operation %d, %s: %v; want EEXIST", i, ops[i], err)
		}
	}
	have := s.observe()
	if n := len(have.VirtualServers) + have.Entries.Len() + len(have.Addresses); n != 1800 {
		s.Errorf("%d objects, want 1800", n)
	}
}

func (s *suite) overwrite() {
	s.do(everything()...)
	s.do(op(dataplane.Create, chain), op(dataplane.Create, hook))
	other := chain
	other.Rules, other.Sets = []dataplane.Rule{{Verdict: dataplane.Verdict{Action: dataplane.Return}}}, nil
	s.do(op(dataplane.Update, other))
	have := s.observe()
	if got := have.Chains[chain.ID].Rules; !slices.EqualFunc(got, other.Rules, dataplane.Rule.Equal) {
		s.Errorf("rules %v, want %v", got, other.Rules)
	}
	// If there were two hooks the chain could not go.
	s.do(op(dataplane.Delete, hook), op(dataplane.Delete, other))
}

func (s *suite) cascades() {
	s.do(everything()...)
	s.do(op(dataplane.Delete, vs), op(dataplane.Create, vs))
	have := s.observe()
	if got := have.VirtualServers[id].RealServers; len(got) != 0 {
		s.Errorf("real servers of before: %v", got)
	}
	s.do(op(dataplane.Delete, link), op(dataplane.Create, link))
	if got := s.observe().Addresses; len(got) != 0 {
		s.Errorf("addresses of before: %v", got)
	}
}

func (s *suite) updates() {
	s.do(everything()...)
	for _, change := range []dataplane.VirtualServerObject{
		{ID: id, Scheduler: "lc"}, {ID: id, Scheduler: "sh", Flags: scheduler.Fallback | scheduler.Port, Timeout: 600}, {ID: id, Scheduler: "rr"},
	} {
		s.do(op(dataplane.Update, change))
		v := s.observe().VirtualServers[id]
		if v.Scheduler != change.Scheduler || v.Flags != change.Flags || v.Timeout != change.Timeout ||
			len(v.RealServers) != 1 || v.RealServers[0] != rs.RealServer {
			s.Errorf("after %s: %+v", change, v)
		}
	}
}

// list: some schedulers depend on the order of the kernel's list, which Diff arranges.
func (s *suite) list() {
	s.do(everything()...)
	real := func(last int, weight uint32) dataplane.RealServerObject {
		return dataplane.RealServerObject{VirtualServer: id, RealServer: dataplane.RealServer{
			Addr: netip.AddrFrom4([4]byte{10, 244, 9, byte(last)}), Port: 80, Weight: weight, Upper: 9, Lower: 3,
		}}
	}
	order := func(want ...byte) {
		s.Helper()
		var got []byte
		for _, r := range s.observe().VirtualServers[id].RealServers {
			if r.Addr.Is4() && r.Addr.As4()[2] == 9 {
				got = append(got, r.Addr.As4()[3])
			}
		}
		if !slices.Equal(got, want) {
			s.Errorf("the list is %v, want %v", got, want)
		}
	}
	s.do(op(dataplane.Create, real(1, 1)), op(dataplane.Create, real(2, 1)), op(dataplane.Create, real(3, 1)))
	order(3, 2, 1)
	s.do(op(dataplane.Update, real(2, 7)))
	order(3, 2, 1)
	s.do(op(dataplane.Renew, real(2, 0)), op(dataplane.Delete, real(3, 0)))
	order(2, 1)
	s.do(op(dataplane.Renew, real(4, 5))) // there is none to be deleted
	order(4, 2, 1)
	for _, r := range s.observe().VirtualServers[id].RealServers {
		if want := map[byte]uint32{1: 1, 2: 0, 4: 5}[r.Addr.As4()[3]]; r.Addr.As4()[2] == 9 &&
			(r.Weight != want || r.Upper != 9 || r.Lower != 3) {
			s.Errorf("%+v, want the weight %d and the limits 9 and 3", r, want)
		}
	}
	bad := real(5, 1)
	bad.Lower = 10
	s.refused(op(dataplane.Create, bad), syscall.ERANGE)

	// An order that no history gives by itself.
	s.do(op(dataplane.Update, dataplane.VirtualServerObject{ID: id, Scheduler: "mh"}))
	want := s.observe().Clone()
	v := want.VirtualServers[id]
	v.List = dataplane.List{Order: scheduler.Canonical, Idle: scheduler.IdleRenewed}
	v.RealServers = nil
	for _, last := range []byte{2, 5, 3, 1, 4} {
		v.RealServers = append(v.RealServers,
			dataplane.RealServer{Addr: netip.AddrFrom4([4]byte{10, 244, 9, last}), Port: 80, Weight: uint32(last)})
	}
	want.SetVirtualServer(id, v)
	s.become(want)
	if got := s.observe().ListText(id); got != want.ListText(id) {
		s.Errorf("the list is\n%s, want\n%s", got, want.ListText(id))
	}
}

func (s *suite) values() {
	s.do(everything()...)
	for _, weight := range []uint32{0, 1, 100, 65535, 65536, math.MaxInt32} { // ipvsadm 1.31 takes them all
		r := rs
		r.Weight = weight
		s.do(op(dataplane.Update, r))
		if got := s.observe().VirtualServers[id].RealServers[0].Weight; got != weight {
			s.Errorf("weight %d, want %d", got, weight)
		}
	}
	r := rs
	r.Weight = math.MaxInt32 + 1 // a negative one (ip_vs_ctl.c, ip_vs_edit_dest)
	s.refused(op(dataplane.Update, r), syscall.ERANGE)
	for _, timeout := range []uint32{0, 1, 10800, 86400} {
		for _, flags := range []scheduler.Flags{0, scheduler.Fallback, scheduler.Fallback | scheduler.Port} {
			o := dataplane.VirtualServerObject{ID: id, Scheduler: "sh", Flags: flags, Timeout: timeout}
			s.do(op(dataplane.Update, o))
			if v := s.observe().VirtualServers[id]; v.Timeout != timeout || v.Flags != flags {
				s.Errorf("timeout %d flags %s, want %d and %s", v.Timeout, v.Flags, timeout, flags)
			}
		}
	}
}

func (s *suite) sets() {
	v4, v6 := netip.MustParseAddr("10.96.0.1"), netip.MustParseAddr("fd00:96::1")
	for i, c := range []struct {
		t       ipset.Type
		entries []ipset.Entry // IPv4, IPv6
	}{
		{ipset.HashIP, []ipset.Entry{{Addr: v4}, {Addr: v6}}},
		{ipset.HashNet, []ipset.Entry{{Addr: netip.MustParseAddr("10.0.0.0"), Bits: 8}, {Addr: netip.MustParseAddr("fd00::"), Bits: 8}}},
		{ipset.HashIPPort, []ipset.Entry{{Addr: v4, Protocol: 6, Port: 80}, {Addr: v6, Protocol: 132, Port: 65535}}},
		{ipset.HashIPPortIP, []ipset.Entry{{Addr: v4, Protocol: 17, Port: 1, Peer: v4}, {Addr: v6, Protocol: 6, Port: 80, Peer: v6}}},
	} {
		for j, family := range []ipset.Family{ipset.IPv4, ipset.IPv6} {
			set := dataplane.Set{Set: ipset.Set{Name: fmt.Sprintf("%sTEST-%d-%d",
				dataplane.Prefix, i, j), Type: c.t, Family: family, HashSize: 1024, MaxElem: 65536}}
			e := dataplane.SetEntry{Set: set.Name, Type: c.t, Entry: c.entries[j]}
			s.do(op(dataplane.Create, set), op(dataplane.Create, e))
			have := s.observe()
			if !have.Entries.Has(e) || have.Entries.Len() != 1 {
				s.Errorf("%s: entries %v, want %s", set, have.Entries.Sorted(), e)
			}
			s.refused(op(dataplane.Create, e), syscall.EEXIST)
			s.do(op(dataplane.Delete, e))
			s.refused(op(dataplane.Delete, e), syscall.ENOENT)
			s.do(op(dataplane.Delete, set))
		}
	}
}

// resizing: a set gets another size under the rules that refer to it, with all its entries; and what the new size would
// not hold stays as it is.
func (s *suite) resizing() {
	s.do(op(dataplane.Create, vipSet), op(dataplane.Create, chain))
	for i := range 300 {
		e := entry
		e.Entry.Addr = netip.AddrFrom4([4]byte{10, 96, byte(i / 200), byte(i % 200)})
		s.do(op(dataplane.Create, e))
	}
	large := vipSet
	large.MaxElem = 262144
	s.do(op(dataplane.Update, large))
	if have := s.observe(); have.Sets[vipSet.Name].MaxElem != large.MaxElem || have.Entries.Len() != 300 ||
		len(have.Sets) != 1 {
		s.Errorf("sets %v with %d entries, want %s with 300", have.Sets, have.Entries.Len(), large)
	}
	s.refused(op(dataplane.Delete, large)) // the rule refers to it still
	missing := ledgerless(vipSet)
	s.refused(op(dataplane.Update, missing), syscall.ENOENT)
	s.do(op(dataplane.Delete, chain))
	s.do(op(dataplane.Delete, large))
}

// renewing: a set of another type, which somebody else has made, becomes ours with our entries alone.
func (s *suite) renewing() {
	theirs := dataplane.Set{
		Set: ipset.Set{Name: vipSet.Name, Type: ipset.HashNet, Family: ipset.IPv4, HashSize: 1024, MaxElem: 65536},
	}
	their := dataplane.SetEntry{Set: theirs.Name, Type: theirs.Type, Entry: ipset.Entry{Addr: id.Addr, Bits: 32}}
	s.do(op(dataplane.Create, theirs), op(dataplane.Create, their))
	want := dataplane.NewState()
	for name, value := range s.observe().Sysctls {
		want.Sysctls[name] = value
	}
	want.Sets[vipSet.Name] = vipSet.Set
	want.Entries.Put(entry)
	s.become(want)

	s.do(op(dataplane.Create, chain))
	s.refused(op(dataplane.Renew, theirs)) // a rule refers to it
	s.do(op(dataplane.Delete, chain), op(dataplane.Delete, vipSet))
	s.refused(op(dataplane.Renew, theirs), syscall.ENOENT)
}

// retyping: an earlier version's set of another type, under another name, gives way to ours while the chain that uses
// it stays.
func (s *suite) retyping() {
	theirs := dataplane.Set{
		Set: ipset.Set{
			Name: dataplane.Prefix + "EARLIER", Type: ipset.HashNet, Family: ipset.IPv4, HashSize: 1024, MaxElem: 65536,
		},
	}
	their := dataplane.SetEntry{Set: theirs.Name, Type: theirs.Type, Entry: ipset.Entry{Addr: id.Addr, Bits: 32}}
	before := chain
	before.Rules = []dataplane.Rule{
		{Matches: []dataplane.Match{
			dataplane.InSet{Set: theirs.Name, By: dataplane.ByDestination},
		}, Verdict: chain.Rules[0].Verdict},
	}
	before.References()
	s.do(op(dataplane.Create, theirs), op(dataplane.Create, their), op(dataplane.Create, before),
		op(dataplane.Create, hook))
	want := s.observe()
	delete(want.Sets, theirs.Name)
	want.Sets[vipSet.Name] = vipSet.Set
	want.Entries.Drop(their)
	want.Entries.Put(entry)
	want.Chains[chain.ID] = chain
	have := s.observe()
	for _, step := range dataplane.Diff(have, want, dataplane.All(nil, have, want)) {
		s.do(step)
		now := s.observe()
		if _, hooked := now.Hooks[hook]; !hooked || len(now.Chains[chain.ID].Rules) != 1 {
			s.Fatalf("after %s: hooks %v, chains %v", step, now.Hooks, now.Chains)
		}
		for _, set := range now.Chains[chain.ID].Sets {
			if !now.Entries.Has(entry) && set == vipSet.Name || !now.Entries.Has(their) && set == theirs.Name {
				s.Errorf("after %s the rule matches %s, which does not hold its entry", step, set)
			}
		}
	}
	s.same(want)
}

func (s *suite) thousands() {
	want := services(0, 400)
	s.become(want)
	if got := len(s.observe().VirtualServers); got < 3600 {
		s.Errorf("%d virtual servers", got)
	}
	s.become(services(100, 10))
}

func (s *suite) sysctls() {
	s.become(dataplane.NewWant(dataplane.Foundation(Config)).State)
	want := s.observe()
	for name, value := range want.Sysctls {
		other := "0"
		if strings.HasPrefix(name, "ipvs.timeout.") {
			other = "7" // 0 is no timeout
		}
		s.do(op(dataplane.Update, dataplane.Sysctl{Name: name, Value: other}))
		want.Sysctls[name] = other
		s.same(want)
		s.do(op(dataplane.Update, dataplane.Sysctl{Name: name, Value: value}))
		want.Sysctls[name] = value
	}
	s.same(want)
}

// strange is an object that no kernel knows.
type strange struct{ dataplane.Link }

func (s *suite) unknown() {
	errs := s.k.Apply([]dataplane.Op{op(dataplane.Create, strange{})})
	if len(errs) != 1 || errs[0] == nil || !strings.Contains(errs[0].Error(), "BUG") {
		s.Errorf("%v, want an error that says BUG", errs)
	}
}

func (s *suite) connections() {
	for _, server := range []dataplane.VirtualServerID{id, id6} {
		if counts, err := s.k.Connections(server); err != nil || len(counts) != 0 {
			s.Errorf("connections of %s, which does not exist: %v, %v", server, counts, err)
		}
	}
	s.do(everything()...)
	counts, err := s.k.Connections(id)
	if want := (dataplane.Connections{Addr: rs.Addr, Port: rs.Port}); err != nil || len(counts) != 1 || counts[0] != want {
		s.Errorf("connections %v, %v; want %v", counts, err, want)
	}
}
