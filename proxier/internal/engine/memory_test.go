package engine_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/engine"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/observe"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/source"
)

// listed is a source with a list that never changes.
type listed struct{ list func() apiruntime.Object }

func (listed) IsWatchListSemanticsUnSupported() bool                { return true }
func (l listed) List(metav1.ListOptions) (apiruntime.Object, error) { return l.list(), nil }
func (l listed) Watch(metav1.ListOptions) (watch.Interface, error)  { return watch.NewFake(), nil }
func (l listed) listerWatcher() cache.ListerWatcher                 { return l }

// clusterOf returns n Services with so many endpoints each, as a cluster has them: pods with names, nodes, zones and
// UIDs.
func clusterOf(n, endpoints int) source.Source {
	services := func() apiruntime.Object {
		all := &v1.ServiceList{}
		for i := range n {
			ip := fmt.Sprintf("10.%d.%d.%d", 96+i>>16, i>>8&255, i&255)
			all.Items = append(all.Items, v1.Service{
				ObjectMeta: metav1.ObjectMeta{
					Namespace: fmt.Sprintf("team-%d", i%50), Name: fmt.Sprintf("service-%d", i),
					UID: types.UID(fmt.Sprintf("00000000-0000-0000-0000-%012d", i)), ResourceVersion: fmt.Sprint(1000 + i),
					CreationTimestamp: metav1.Unix(1.7e9, 0), Labels: map[string]string{"app": fmt.Sprintf("app-%d", i)},
					ManagedFields: []metav1.ManagedFieldsEntry{
						{Manager: "kubectl", FieldsV1: metav1.NewFieldsV1(strings.Repeat("f", 500))},
					},
				},
				Spec: v1.ServiceSpec{
					Type: v1.ServiceTypeClusterIP, ClusterIP: ip, ClusterIPs: []string{ip}, IPFamilies: []v1.IPFamily{v1.IPv4Protocol},
					Ports:    []v1.ServicePort{{Name: "http", Protocol: v1.ProtocolTCP, Port: 80, TargetPort: intstr.FromInt32(8080)}},
					Selector: map[string]string{"app": fmt.Sprintf("app-%d", i)}, SessionAffinity: v1.ServiceAffinityNone,
				},
			})
		}
		return all
	}
	slices := func() apiruntime.Object {
		all := &discovery.EndpointSliceList{}
		for i := range n {
			e := discovery.EndpointSlice{
				ObjectMeta: metav1.ObjectMeta{
					Namespace: fmt.Sprintf("team-%d", i%50), Name: fmt.Sprintf("service-%d-x7k2p", i),
					UID: types.UID(fmt.Sprintf("00000000-0000-0000-0001-%012d", i)),
					Labels: map[string]string{discovery.LabelServiceName: fmt.Sprintf("service-%d",
						i), discovery.LabelManagedBy: "endpointslice-controller.k8s.io"},
					ManagedFields: []metav1.ManagedFieldsEntry{
						{Manager: "controller", FieldsV1: metav1.NewFieldsV1(strings.Repeat("f", 500))},
					},
				},
				AddressType: discovery.AddressTypeIPv4,
				Ports:       []discovery.EndpointPort{{Name: new("http"), Port: new(int32(8080)), Protocol: new(v1.ProtocolTCP)}},
			}
			for j := range endpoints {
				k := i*endpoints + j
				e.Endpoints = append(e.Endpoints, discovery.Endpoint{
					Addresses: []string{fmt.Sprintf("10.%d.%d.%d", 128+k>>16, k>>8&255, k&255)},
					NodeName:  new(fmt.Sprintf("node-%d", k%100)), Zone: new("zone-a"),
					Conditions: discovery.EndpointConditions{Ready: new(true), Serving: new(true), Terminating: new(false)},
					TargetRef: &v1.ObjectReference{Kind: "Pod", Namespace: "team", Name: fmt.Sprintf("service-%d-pod-%d",
						i, j), UID: types.UID(fmt.Sprintf("00000000-0000-0000-0002-%012d", k))},
				})
			}
			all.Items = append(all.Items, e)
		}
		return all
	}
	nodes := func() apiruntime.Object { return &v1.NodeList{} }
	return source.Source{
		Services: listed{services}.listerWatcher(), Slices: listed{slices}.listerWatcher(),
		Nodes: listed{nodes}.listerWatcher(),
	}
}

// BenchmarkMemory says what stays in memory of a cluster once it is in the kernel: objects, what is wanted, the
// kernel's mirror, status.
func BenchmarkMemory(b *testing.B) {
	for _, of := range []struct{ n, endpoints int }{{1000, 5}, {10_000, 5}, {10_000, 10}} {
		n := of.n
		b.Run(fmt.Sprintf("%dx%d", n, of.endpoints), func(b *testing.B) {
			for b.Loop() {
				before := engine.Heap()
				ctx, cancel := context.WithCancel(b.Context())
				w := source.NewWatcher(clusterOf(n, of.endpoints), "node-1")
				go w.Run(ctx)
				w.WaitForSync(ctx)
				stored := engine.Heap()
				e := engine.NewIdle(b, w)
				board, metrics := observe.NewBoard("n1", "v", nil, observe.Origin{}), observe.NewMetrics(nil, "v")
				served := 0
				for more := true; more; {
					r := e.Pass(time.Now(), nil, false)
					if r.Error() != nil {
						b.Fatal(r.Error())
					}
					board.Observe(r)
					metrics.Observe(r)
					served, more = r.Served, r.Backlog > 0
				}
				if served != n {
					b.Fatal(served)
				}
				w.Take()
				after := engine.Heap()
				if path := os.Getenv("HEAP_PROFILE"); path != "" && n == 10_000 && of.endpoints == 5 {
					f, err := os.Create(path)
					if err != nil {
						b.Fatal(err)
					}
					_ = pprof.WriteHeapProfile(f)
					f.Close()
				}
				b.ReportMetric(float64(stored-before)/float64(n), "objects-B/Service")
				b.ReportMetric(float64(after-before)/float64(n), "B/Service")
				b.ReportMetric(float64(after-before)/(1<<20), "MiB")
				runtime.KeepAlive([]any{w, e, board, metrics})
				cancel()
			}
		})
	}
}
