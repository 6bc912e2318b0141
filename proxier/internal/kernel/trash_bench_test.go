//go:build kernel

package kernel_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel/kerneltest"
)

// rollout replaces real servers of 1,000 virtual servers, each by one with an address that there never was.
type rollout struct {
	servers []dataplane.VirtualServerID
	real    [][]dataplane.RealServer
	next    uint32
}

func (r *rollout) fresh() dataplane.RealServer {
	r.next++
	return dataplane.RealServer{
		Addr: netip.AddrFrom4([4]byte{10, 200 + byte(r.next>>16), byte(r.next >> 8), byte(r.next)}), Port: 8080, Weight: 1,
	}
}

// up returns the operations that make the virtual servers.
func (r *rollout) up(n, endpoints int) (ops []dataplane.Op) {
	for i := range n {
		id := dataplane.VirtualServerID{
			Addr: netip.AddrFrom4([4]byte{10, 96, byte(i >> 8), byte(i)}), Port: 80, Protocol: cluster.TCP,
		}
		r.servers = append(r.servers, id)
		ops = append(
			ops, dataplane.Op{Verb: dataplane.Create, Object: dataplane.VirtualServerObject{ID: id, Scheduler: "rr"}},
		)
		var list []dataplane.RealServer
		for range endpoints {
			list = append(list, r.fresh())
			ops = append(ops, dataplane.Op{
				Verb: dataplane.Create, Object: dataplane.RealServerObject{VirtualServer: id, RealServer: list[len(list)-1]},
			})
		}
		r.real = append(r.real, list)
	}
	return ops
}

// step replaces one real server of each of n virtual servers, from the first one on: what is added, and what goes.
func (r *rollout) step(first, n int) (add, drop []dataplane.Op) {
	for i := first; i < first+n; i++ {
		at := i % len(r.servers)
		id, old, now := r.servers[at], r.real[at][0], r.fresh()
		r.real[at] = append(slices.Clone(r.real[at][1:]), now)
		add = append(
			add, dataplane.Op{Verb: dataplane.Create, Object: dataplane.RealServerObject{VirtualServer: id, RealServer: now}},
		)
		drop = append(
			drop, dataplane.Op{Verb: dataplane.Delete, Object: dataplane.RealServerObject{VirtualServer: id, RealServer: old}},
		)
	}
	return add, drop
}

// BenchmarkTrash restarts 5,000 endpoints of 1,000 Services, 500 in a pass, which adds before it deletes. The kernel
// keeps each deleted real server for two to three minutes on a list that every addition walks
// (net/netfilter/ipvs/ip_vs_ctl.c, ip_vs_trash_get_dest). The benchmark shows what that makes, as the list grows, of an
// addition and of a change of one endpoint. It shows it of a renewal, too, which finds its real server at the head of
// the list.
func BenchmarkTrash(b *testing.B) {
	const passes, each, hot = 10, 500, 20
	took := map[string]time.Duration{}
	for b.Loop() {
		b.StopTimer()
		kerneltest.Own(b) // a namespace without trash
		k := openLinux(b)
		var r rollout
		apply(b, k, r.up(1000, 5))
		b.StartTimer()
		measure := func(what string, ops []dataplane.Op) {
			began := time.Now()
			apply(b, k, ops)
			each := time.Since(began) / time.Duration(len(ops))
			if least, known := took[what]; !known || each < least {
				took[what] = each
			}
		}
		change := func(trash int) {
			for i := range hot {
				add, drop := r.step(7*i, 1)
				measure(fmt.Sprintf("us/change/%d", trash), slices.Concat(add, drop))
			}
		}
		renew := func(trash int) {
			var ops []dataplane.Op
			for i := range each {
				ops = append(ops, dataplane.Op{
					Verb: dataplane.Renew, Object: dataplane.RealServerObject{VirtualServer: r.servers[i], RealServer: r.real[i][0]},
				})
			}
			measure(fmt.Sprintf("us/renew/%d", trash), ops)
		}
		trash := 0
		change(trash)
		renew(trash)
		for pass := range passes {
			add, drop := r.step(pass*each, each)
			measure(fmt.Sprintf("us/add/%d", trash), add)
			measure("us/delete", drop)
			trash += each
		}
		change(trash)
		renew(trash)
		add, drop := r.step(0, each)
		measure(fmt.Sprintf("us/add/%d", trash), add)
		apply(b, k, drop)
	}
	for what, least := range took {
		per := float64(least.Nanoseconds()) / 1000
		if strings.HasPrefix(what, "us/change") {
			per *= 2 // of two operations
		}
		b.ReportMetric(per, what)
	}
}
