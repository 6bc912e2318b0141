package engine

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// contend has n Services want the ports of one address; the first is the oldest.
func (s *scenario) contend(n, ports int) (names []cluster.Name) {
	for i := range n {
		api := newHostile().ports(ports).balancers(1).service
		api.Name, api.UID = fmt.Sprint("contender-", i), "c"
		api.CreationTimestamp = metav1.NewTime(time.Unix(int64(1+i), 0))
		api.Spec.ClusterIP = fmt.Sprintf("10.98.%d.%d", i>>8, i&255)
		api.Spec.ClusterIPs = []string{api.Spec.ClusterIP}
		name := cluster.Name{Namespace: api.Namespace, Name: api.Name}
		s.objects.services[name] = api
		names = append(names, name)
	}
	return names
}

// TestLosersAreReportedOnce: when a big Service goes that many others want the front ends of, each of them is reported
// once, and no pass reports more than a piece of them; with twice the Services twice the reports. All name the one that
// has the front ends then.
func TestLosersAreReportedOnce(t *testing.T) {
	const ports = 200
	rows := map[int]int{}
	for _, n := range []int{20, 40} {
		s := newScenario(t, 0, 0)
		s.memory.AfterEach = nil
		s.engine.kernel = idleKernel{willingKernel{s.memory}}
		names := s.contend(n, ports)
		s.converge(names, true)
		delete(s.objects.services, names[0])
		passes, dirty := 0, names[:1]
		for left := true; left; dirty = nil {
			r := s.engine.Pass(s.now, dirty, false)
			if r.Error() != nil {
				t.Fatal(r.Error())
			}
			frontEnds := 0
			for _, row := range r.Changed {
				frontEnds += len(row.FrontEnds)
				s.rows[row.Name] = row
			}
			if rows[n] += len(r.Changed); frontEnds > loserFrontEnds+2*ports {
				t.Errorf("a pass reports %d front ends", frontEnds)
			}
			passes, left = passes+1, r.Backlog > 0
		}
		if passes < n*ports/loserFrontEnds || rows[n] != n {
			t.Errorf("%d Services: %d rows in %d passes, want each once", n, rows[n], passes)
		}
		for _, name := range names[1:] {
			for _, front := range s.rows[name].FrontEnds {
				winner := names[1]
				if name == winner || front.Front.ID.Addr.String() != "198.18.0.1" {
					winner = cluster.Name{}
				}
				if front.Winner() != winner {
					t.Fatalf("%s: %s is reported as %v's, want %v", name, front.Front.ID, front.Winner(), winner)
				}
			}
		}
	}
}

// TestRowsAreLinear: what is reported of a Service takes four times as much when it has four times the front ends,
// whether it has them, has lost them, or the kernel refuses them.
func TestRowsAreLinear(t *testing.T) {
	cost := func(ports int) (allocations [3]float64) {
		s := newScenario(t, 0, 0)
		s.memory.AfterEach = nil
		s.engine.kernel = idleKernel{willingKernel{s.memory}}
		names := s.contend(2, ports)
		s.converge(names, true)
		var failures []Failure
		for id := range s.engine.want.State.VirtualServers {
			op := dataplane.Op{Verb: dataplane.Create, Object: dataplane.VirtualServerObject{ID: id}}
			failures = append(failures, Failure{op, syscall.EPERM})
		}
		s.engine.retries[names[0]] = &retry{delay: time.Hour, keys: dataplane.NewTouched()}
		for i, failed := range []map[cluster.Name][]Failure{nil, nil, {names[0]: failures}} {
			name := map[cluster.Name]struct{}{names[i%2]: {}}
			allocations[i] = testing.AllocsPerRun(3, func() { s.engine.rows(name, &Report{Failures: failed}) })
		}
		return allocations
	}
	once, four := cost(250), cost(1000)
	for i, what := range []string{"it has them", "it has lost them", "they are refused"} {
		if four[i] > 4.5*once[i]+20 {
			t.Errorf("%s: %.0f allocations become %.0f", what, once[i], four[i])
		}
	}
}
