package engine

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
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
