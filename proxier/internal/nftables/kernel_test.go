//go:build kernel

package nftables

import (
	"errors"
	"net/netip"
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

var config = dataplane.Config{
	Link: "kube-ipvs0", Families: []cluster.Family{cluster.IPv4, cluster.IPv6}, MasqueradeMark: 1 << 14,
	Pods:  dataplane.Pods{CIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix("::/0")}},
	Facts: dataplane.Facts{KernelMajor: 6, KernelMinor: 1, RandomFully: true, IPVSMatch: true},
}

// own gives the test's goroutine a network namespace of its own. Its thread is never used again.
func own(t testing.TB) {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("make a network namespace: %v (these tests need root)", err)
	}
	if err := Check(from(dataplane.NewState(), dataplane.Foundation(config))); err != nil {
		if release := new(unix.Utsname); unix.Uname(release) == nil && errors.Is(err, unix.EOPNOTSUPP) {
			t.Skipf("Linux %s: %v", unix.ByteSliceToString(release.Release[:]), err)
		}
		t.Fatal(err)
	}
}

func open(t testing.TB) *Backend {
	t.Helper()
	b, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func observe(t testing.TB, b *Backend) *dataplane.State {
	t.Helper()
	s := dataplane.NewState()
	if err := b.Observe(s); err != nil {
		t.Fatal(err)
	}
	return s
}

// netfilter keeps what a netfilter backend has to do with.
func netfilter(ops []dataplane.Op) []dataplane.Op {
	return slices.DeleteFunc(ops, func(op dataplane.Op) bool {
		switch op.Object.Kind() {
		case dataplane.KindSet, dataplane.KindEntry, dataplane.KindChain, dataplane.KindHook:
			return false
		}
		return true
	})
}

func from(have, want *dataplane.State) []dataplane.Op {
	return netfilter(dataplane.Diff(have, want, dataplane.All(nil, have, want)))
}

func apply(t testing.TB, b *Backend, ops []dataplane.Op) {
	t.Helper()
	for i, err := range b.Apply(ops) {
		if err != nil {
			t.Fatalf("%s: %v", ops[i], err)
		}
	}
}

// TestRulesAreReadAsTheyWereWritten: with any configuration, all rules can be written, and a Backend that has not
// written them reads them again.
func TestRulesAreReadAsTheyWereWritten(t *testing.T) {
	own(t)
	for name, change := range map[string]func(*dataplane.Config){
		"as the contract has it": func(*dataplane.Config) {},
		"masquerade all":         func(c *dataplane.Config) { c.MasqueradeAll = true },
		"ports to masquerade":    func(c *dataplane.Config) { c.MasqueradePorts = [2]uint16{32768, 65535} },
		"random ports":           func(c *dataplane.Config) { c.Facts.KernelMajor = 4 },
		"ping":                   func(c *dataplane.Config) { c.AnswerPing = true },
		"a bridge":               func(c *dataplane.Config) { c.Pods = dataplane.Pods{Bridge: "cbr0"} },
		"links by their prefix":  func(c *dataplane.Config) { c.Pods = dataplane.Pods{InterfacePrefix: "cali"} },
		"pods that nobody knows": func(c *dataplane.Config) { c.Pods = dataplane.Pods{} },
		"networks in each other": func(c *dataplane.Config) {
			c.Pods.CIDRs = []netip.Prefix{
				netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("fd00::/48"),
				netip.MustParsePrefix("fd00::1/128"),
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			changed := config
			change(&changed)
			want := dataplane.Foundation(changed)
			b := open(t)
			apply(t, b, from(observe(t, b), want))
			other := open(t)
			seen := observe(t, other)
			if ops := from(seen, want); len(ops) > 0 {
				for _, op := range ops {
					if c, is := op.Object.(dataplane.Chain); is {
						t.Logf("%s: %v\nhave %v", op, c.Rules, seen.Chains[c.ID].Rules)
					}
				}
				t.Fatalf("still to be done: %v", ops)
			}
			apply(t, other, from(seen, dataplane.NewState()))
			if left := observe(t, open(t)); left.Text() != "" {
				t.Errorf("left: %s", left.Text())
			}
			if now, err := open(t).load(); err != nil || now.of[cluster.IPv4].present || now.of[cluster.IPv6].present {
				t.Errorf("an empty table is left (%v)", err)
			}
		})
	}
}

// TestOneTransaction: a phase is one send, and moves the generation by one.
func TestOneTransaction(t *testing.T) {
	own(t)
	b := open(t)
	ops := from(dataplane.NewState(), dataplane.Foundation(config))
	before, err := b.generation()
	if err != nil {
		t.Fatal(err)
	}
	set := dataplane.SetName(dataplane.SetVIP, cluster.IPv4)
	for i := range 100_000 {
		e := dataplane.SetEntry{Set: set, Type: "hash:ip"}
		e.Entry.Addr = netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		ops = append(ops, dataplane.Op{Verb: dataplane.Create, Object: e})
	}
	apply(t, b, ops)
	after, err := b.generation()
	if err != nil || after != before+1 {
		t.Errorf("the generation went from %d to %d (%v)", before, after, err)
	}
	if n := observe(t, b).Entries.Len(); n < 100_000 {
		t.Errorf("%d entries are in, at least 100,000 were put in", n)
	}
}

// TestASetThatHasGrownIsReadWhole: the kernel gives a set that has grown a larger table when it comes to it, perhaps
// while the set is read. It does so after the first time as a rule, when all else goes fast.
func TestASetThatHasGrownIsReadWhole(t *testing.T) {
	const size = 100_000 // just above three quarters of 2^17, where the last of the larger tables begins
	set := dataplane.SetName(dataplane.SetVIP, cluster.IPv4)
	for range 3 {
		own(t)
		b, reader := open(t), open(t)
		ops := from(dataplane.NewState(), dataplane.Foundation(config))
		for i := range size {
			e := dataplane.SetEntry{Set: set, Type: "hash:ip"}
			e.Entry.Addr = netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
			ops = append(ops, dataplane.Op{Verb: dataplane.Create, Object: e})
		}
		apply(t, b, ops)
		for range 3 {
			n := 0
			for e := range observe(t, reader).Entries.All() {
				if e.Set == set {
					n++
				}
			}
			if n != size {
				t.Errorf("%d of %d entries were read", n, size)
			}
		}
	}
}

// TestOthersChangeMeanwhile: a change of somebody else's makes a transaction stale, and it is made again.
func TestOthersChangeMeanwhile(t *testing.T) {
	own(t)
	b, other := open(t), open(t)
	want := dataplane.Foundation(config)
	ops := from(dataplane.NewState(), want)
	other.table = "somebody-else"
	for i := range ops {
		if i%7 == 0 {
			theirs := other.start(&tables{of: map[cluster.Family]*table{cluster.IPv4: newTable(), cluster.IPv6: newTable()}}, 0)
			theirs.table(0, cluster.IPv4)
			theirs.finish()
			if failed, err := other.socket.Transact(&other.batch); err != nil || failed != nil {
				t.Fatal(failed, err)
			}
			other.table += "x"
		}
		apply(t, b, ops[i:i+1])
	}
	if ops := from(observe(t, b), want); len(ops) > 0 {
		t.Errorf("still to be done: %v", ops)
	}
}

// TestOurTableIsFlushed: what somebody has taken away comes again, although we know otherwise.
func TestOurTableIsFlushed(t *testing.T) {
	own(t)
	b := open(t)
	want := dataplane.Foundation(config)
	apply(t, b, from(dataplane.NewState(), want))
	for range 3 {
		other := open(t)
		apply(t, other, from(observe(t, other), dataplane.NewState()))
		apply(t, b, from(observe(t, other), want))
		if ops := from(observe(t, other), want); len(ops) > 0 {
			t.Fatalf("still to be done: %v", ops)
		}
	}
}

// TestErrorsFindTheirOperations among many that are fine.
func TestErrorsFindTheirOperations(t *testing.T) {
	own(t)
	b := open(t)
	apply(t, b, from(dataplane.NewState(), dataplane.Foundation(config)))
	var ops []dataplane.Op
	for i := range 5000 {
		e := dataplane.SetEntry{Set: dataplane.SetVIP, Type: "hash:ip"}
		e.Entry.Addr = netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		if i%1001 == 5 {
			ops = append(ops, dataplane.Op{Verb: dataplane.Delete, Object: e})
		}
		ops = append(ops, dataplane.Op{Verb: dataplane.Create, Object: e})
		if i%1000 == 0 {
			ops = append(ops, ops[len(ops)-1])
		}
	}
	failures := 0
	for i, err := range b.Apply(ops) {
		repeated := i > 0 && ops[i] == ops[i-1]
		switch {
		case repeated && !errors.Is(err, unix.EEXIST), ops[i].Verb == dataplane.Delete && !errors.Is(err, unix.ENOENT):
			t.Errorf("operation %d, %s: %v", i, ops[i], err)
		case !repeated && ops[i].Verb == dataplane.Create && err != nil:
			t.Errorf("operation %d, %s: %v", i, ops[i], err)
		case err != nil:
			failures++
		}
	}
	if failures != 10 {
		t.Errorf("%d failures, want 10", failures)
	}
}

// TestCheckChangesNothing, and finds that this kernel has all that is needed.
func TestCheckChangesNothing(t *testing.T) {
	own(t)
	b := open(t)
	before, err := b.generation()
	if err != nil {
		t.Fatal(err)
	}
	if err := Check(from(dataplane.NewState(), dataplane.Foundation(config))); err != nil {
		t.Fatal(err)
	}
	if after, err := b.generation(); err != nil || after != before {
		t.Errorf("the generation went from %d to %d (%v)", before, after, err)
	}
}
