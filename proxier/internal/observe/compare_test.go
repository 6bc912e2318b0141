package observe

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/engine"
)

// seenKernel has one virtual server for each look, and the last one from then on; nil is none.
type seenKernel struct {
	looks []*dataplane.VirtualServer
	at    *int
}

func (k seenKernel) VirtualServer(dataplane.VirtualServerID) (v dataplane.VirtualServer, present bool, _ []dataplane.Connections, _ error) {
	seen := k.looks[min(*k.at, len(k.looks)-1)]
	*k.at++
	if seen == nil {
		return v, false, nil, nil
	}
	return *seen, true, make([]dataplane.Connections, len(seen.RealServers)), nil
}

func (seenKernel) Close() error { return nil }

func rs(address string, weight uint32) dataplane.RealServer {
	at := netip.MustParseAddrPort(address)
	return dataplane.RealServer{Addr: at.Addr(), Port: at.Port(), Weight: weight}
}

// TestStatusComparesWithTheKernel: each difference between what is wanted and what the kernel has is named, and counts;
// what drains or starts does not.
func TestStatusComparesWithTheKernel(t *testing.T) {
	wanted := dataplane.VirtualServer{
		Scheduler: "rr", RealServers: []dataplane.RealServer{rs("10.0.0.1:80", 10), rs("10.0.0.2:80", 10)},
	}
	with := func(change func(*dataplane.VirtualServer)) *dataplane.VirtualServer {
		v := wanted
		v.RealServers = append([]dataplane.RealServer(nil), wanted.RealServers...)
		change(&v)
		return &v
	}
	same := with(func(*dataplane.VirtualServer) {})
	for _, c := range []struct {
		name        string
		seen        []*dataplane.VirtualServer
		slowStart   time.Duration
		differences int
		want        string // words of the front end and its real servers, by commas
		verdict     string
	}{
		{"all is right", []*dataplane.VirtualServer{same}, 0, 0, "ok,10.0.0.1:80 ok,10.0.0.2:80 ok", "all is right"},
		{"no virtual server", []*dataplane.VirtualServer{nil}, 0, 1, "missing", "DRIFT: 1 object is"},
		{"another scheduler", []*dataplane.VirtualServer{with(func(v *dataplane.VirtualServer) { v.Scheduler = "lc" })}, 0, 1, "differs scheduler lc want rr", "DRIFT"},
		{"affinity", []*dataplane.VirtualServer{with(func(v *dataplane.VirtualServer) { v.Timeout = 60 })}, 0, 1, "differs affinity in seconds 60 want 0", "DRIFT"},
		{"a real server less", []*dataplane.VirtualServer{with(func(v *dataplane.VirtualServer) { v.RealServers = v.RealServers[:1] })}, 0, 1, "10.0.0.2:80 missing want weight 10", "DRIFT"},
		{"one too many", []*dataplane.VirtualServer{with(func(v *dataplane.VirtualServer) { v.RealServers = append(v.RealServers, rs("10.0.0.3:80", 1)) })}, 0, 1, "10.0.0.3:80 extra", "DRIFT"},
		{"one that drains", []*dataplane.VirtualServer{with(func(v *dataplane.VirtualServer) { v.RealServers = append(v.RealServers, rs("10.0.0.3:80", 0)) })}, 0, 0, "10.0.0.3:80 draining", "all is right"},
		{"another weight", []*dataplane.VirtualServer{with(func(v *dataplane.VirtualServer) { v.RealServers[0].Weight = 3 })}, 0, 1, "10.0.0.1:80 differs weight 3 want 10", "DRIFT"},
		{"a slow start", []*dataplane.VirtualServer{with(func(v *dataplane.VirtualServer) { v.RealServers[0].Weight = 3 })}, time.Minute, 0, "10.0.0.1:80 starting on its way to weight 10", "all is right"},
		{"too much weight in a slow start", []*dataplane.VirtualServer{with(func(v *dataplane.VirtualServer) { v.RealServers[0].Weight = 30 })}, time.Minute, 1, "weight 30 want 10", "DRIFT"},
		{"a ceiling", []*dataplane.VirtualServer{with(func(v *dataplane.VirtualServer) { v.RealServers[0].Upper = 5 })}, 0, 1, "ceiling 5/0 want 0/0", "DRIFT"},
		{"somebody else's forwarding", []*dataplane.VirtualServer{with(func(v *dataplane.VirtualServer) { v.RealServers[0].Foreign = true })}, 0, 1, "another forwarding method", "DRIFT"},
		{"a pass that is at work", []*dataplane.VirtualServer{nil, same}, 0, 0, "10.0.0.1:80 ok", "all is right"},
	} {
		t.Run(c.name, func(t *testing.T) {
			at := 0
			b := NewBoard("n1", "v1", func() (ConnectionCounter, error) { return seenKernel{c.seen, &at}, nil },
				Origin{Mistakes: func() []string { return nil }})
			row := testRow("web", "rr")
			row.FrontEnds[0].Front.VirtualServer, row.FrontEnds[0].Front.SlowStart = wanted, c.slowStart
			b.Observe(engine.Report{Start: time.Unix(1e9, 0), Changed: []engine.Row{row}})
			s := b.Status(nil)
			front := s.Services[0].FrontEnds[0]
			said := string(front.State) + " " + front.Differs
			for _, r := range front.RealServers {
				said += " " + r.Address + " " + string(r.State) + " " + r.Differs
			}
			said = strings.ReplaceAll(said, ",", "")
			for want := range strings.SplitSeq(c.want, ",") {
				if !strings.Contains(said, want) {
					t.Errorf("it does not say %q: %s", want, said)
				}
			}
			if s.Differences != c.differences || !strings.HasPrefix(s.Verdict, c.verdict) || s.Wrong != (c.differences > 0) {
				t.Errorf("%d differences, wrong %v, %q; want %d, %q", s.Differences, s.Wrong, s.Verdict, c.differences, c.verdict)
			}
		})
	}
}

// TestTheVerdictIsTheWorst: of several things that are wrong the first line names the worst.
func TestTheVerdictIsTheWorst(t *testing.T) {
	all := Status{
		Healthy: true, LastPass: time.Unix(1, 0), Contested: 1, contested: "link l is undone", Differences: 1, APIUnreachable: "x", Unready: []string{"old"}, Errors: []string{"e"},
		Services: []ServiceStatus{{FrontEnds: []FrontEndStatus{{}}, Problems: []ProblemStatus{{}}}}, NodeProblems: []ProblemStatus{{}},
	}
	for _, step := range []struct {
		want string
		mend func(*Status)
	}{
		{"NOT HEALTHY", func(s *Status) { s.Healthy = true }},
		{"CONTESTED: link l is undone", func(s *Status) { s.Contested = 0 }},
		{"DRIFT: 1 object is", func(s *Status) { s.Differences = 0 }},
		{"NO API", func(s *Status) { s.APIUnreachable = "" }},
		{"NOT READY: old", func(s *Status) { s.Unready = nil }},
		{"the kernel is in line, but", func(s *Status) { s.Errors = nil }},
		{"1 Service has addresses", func(s *Status) { s.Services[0].FrontEnds[0].Programmed = true }},
		{"the kernel is in line; 1 Service asks for what cannot be done, the node has 1 problem", func(s *Status) { s.Services[0].Problems = nil }},
		{"the kernel is in line; the node has 1 problem", func(s *Status) { s.NodeProblems = nil }},
	} {
		if step.want == "NOT HEALTHY" {
			all.Healthy = false
		}
		if all.setVerdict(); !all.Wrong || !strings.HasPrefix(all.Verdict, step.want) {
			t.Errorf("%q, wrong %v; want %q", all.Verdict, all.Wrong, step.want)
		}
		step.mend(&all)
	}
	if all.setVerdict(); all.Wrong || !strings.HasPrefix(all.Verdict, "all is right") {
		t.Errorf("with all repaired: %q", all.Verdict)
	}
}
