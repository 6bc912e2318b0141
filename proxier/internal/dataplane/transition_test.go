package dataplane_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// TestSteps: Services that change by steps of any size, and change again meanwhile, want the same in the end as
// Services that change at once. A Service that loses or wins a front end is in affected. A key whose wanted value a
// step changes is touched by it.
func TestSteps(t *testing.T) {
	r := seeded(t)
	for range 60 {
		once, steps := dataplane.NewWant(dataplane.Foundation(config)), dataplane.NewWant(dataplane.Foundation(config))
		gone, m := map[cluster.Name]bool{}, newMemory()
		carryOut(t, m, dataplane.Diff(m.State(), steps.State, dataplane.All(nil, steps.State)))
		for range 30 {
			s := anyService(r, r.IntN(4))
			f := dataplane.Compile(s, node, config)
			switch r.IntN(4) {
			case 0:
				gone[s.Name] = true
				once.Remove(s.Name, map[cluster.Name]struct{}{})
				steps.BeginRemoval(s.Name)
			case 1:
				gone[s.Name] = false
				once.Set(f, map[cluster.Name]struct{}{})
				carryOut(t, m, dataplane.Diff(m.State(), steps.State, steps.Set(f, map[cluster.Name]struct{}{})))
			default:
				gone[s.Name] = false
				once.Set(f, map[cluster.Name]struct{}{})
				steps.Begin(f)
			}
			for range r.IntN(4) {
				someStep(t, steps, m, 1+r.IntN(20), s.Name)
			}
		}
		for i := range 4 {
			name := anyService(r, i).Name
			for steps.Changing(name) {
				someStep(t, steps, m, 1+r.IntN(20), name)
			}
			if _, has := steps.Fragment(name); has == gone[name] && (has || gone[name]) {
				t.Fatalf("%s is gone: %t, and has a fragment: %t", name, gone[name], has)
			}
		}
		if diff := cmp.Diff(once.State.Text(), steps.State.Text()); diff != "" {
			t.Fatalf("(-at once +by steps):\n%s", diff)
		}
		for id := range once.State.VirtualServers {
			if a, b := once.Owner(id), steps.Owner(id); a != b {
				t.Fatalf("%s is %s's, and by steps %s's", id, a, b)
			}
		}
	}
}

// someStep takes a step if there is one.
func someStep(t *testing.T, w *dataplane.Want, m *kernel.Memory, room int, name cluster.Name) {
	t.Helper()
	if !w.Changing(name) {
		return
	}
	touched, over := w.Step(name, room, map[cluster.Name]struct{}{})
	if over == w.Changing(name) {
		t.Fatalf("over: %t, changing: %t", over, w.Changing(name))
	}
	carryOut(t, m, dataplane.Diff(m.State(), w.State, touched))
	same(t, "the kernel after the touched keys", m.State(), w.State)
}

func lists(ids ...dataplane.VirtualServerID) (ops []dataplane.Op) {
	for _, id := range ids {
		for i := range 100 {
			r := dataplane.RealServer{Addr: node.Addresses[0], Port: uint16(1 + i)}
			o := dataplane.RealServerObject{VirtualServer: id, RealServer: r}
			ops = append(ops, dataplane.Op{Verb: dataplane.Create, Object: o})
		}
	}
	return ops
}

// TestClip: of each virtual server, Clip returns at most room changes, and nothing behind them. Where the virtual
// server has a table, a change counts as several. Where it is created with its table, all changes come at once.
func TestClip(t *testing.T) {
	a := dataplane.VirtualServerID{Addr: node.Addresses[0], Port: 80, Protocol: cluster.TCP}
	b := a
	b.Port = 81
	table, _ := scheduler.Lookup("mh")
	plain, costly := dataplane.NewState(), dataplane.NewState()
	costly.SetVirtualServer(a, dataplane.VirtualServer{Scheduler: table.Kernel})
	create := func(kernel string) dataplane.Op {
		return dataplane.Op{Verb: dataplane.Create, Object: dataplane.VirtualServerObject{ID: a, Scheduler: kernel}}
	}
	update := dataplane.Op{Verb: dataplane.Update, Object: dataplane.VirtualServerObject{ID: a, Scheduler: "rr"}}
	for name, c := range map[string]struct {
		have *dataplane.State
		ops  []dataplane.Op
		room int
		// refused says that the first real server was.
		refused bool
		now     int
		rest    int
	}{
		"room for all":              {plain, lists(a, b), 100, false, 200, 0},
		"of two":                    {plain, lists(a, b), 70, false, 140, 2},
		"what comes behind":         {plain, append(lists(a), update), 99, false, 99, 1},
		"what comes behind another": {plain, append(lists(b), update), 99, false, 100, 1},
		"a table that lives":        {costly, lists(a, b), 128, false, 102, 1},
		"little room and a table":   {costly, lists(a), 1, false, 1, 1},
		"a table that comes":        {plain, slices.Insert(lists(a), 0, create(table.Kernel)), 10, false, 101, 0},
		"no table that comes":       {plain, slices.Insert(lists(a), 0, create("rr")), 10, false, 11, 1},
		"after a refusal":           {plain, append(lists(a), update), 50, true, 50, 1},
		"after nearly all of them":  {plain, append(lists(a), update), 99, true, 100, 0},
	} {
		t.Run(name, func(t *testing.T) {
			first, verb := netip.AddrPort{}, dataplane.Verb(0)
			if c.refused {
				o := lists(a)[0].Object.(dataplane.RealServerObject).RealServer
				first, verb = netip.AddrPortFrom(o.Addr, o.Port), dataplane.Create
			}
			now, rest := dataplane.Clip(c.ops, c.have, c.room,
				func(_ dataplane.VirtualServerID, at netip.AddrPort) dataplane.Verb {
					if at == first {
						return verb
					}
					return 0
				})
			if len(now) != c.now || len(rest) != c.rest {
				t.Errorf("%d operations now, %d virtual servers with a rest; want %d, %d", len(now), len(rest), c.now, c.rest)
			}
		})
	}
}
