package engine

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// recordingKernel keeps what is carried out.
type recordingKernel struct {
	dataplane.Kernel
	ops []string
}

func (k *recordingKernel) Apply(ops []dataplane.Op) []error {
	k.ops = append(k.ops, texts(ops)...)
	return k.Kernel.Apply(ops)
}

func texts(ops []dataplane.Op) (lines []string) {
	for _, op := range ops {
		lines = append(lines, op.String())
	}
	return lines
}

// dryRun returns what a start would do now, and checks that nothing was done.
func (s *scenario) dryRun() []string {
	s.t.Helper()
	seen, err := s.memory.Observe()
	if err != nil {
		s.t.Fatal(err)
	}
	before, writes := s.memory.State().Text(), s.memory.Writes
	ops, r, err := DryRun(s.engine.settings, seen, s.objects, s.memory.Connections)
	if err != nil || r.Error() != nil {
		s.t.Fatal(err, r.Error())
	}
	if diff := cmp.Diff(before, s.memory.State().Text()); diff != "" || s.memory.Writes != writes {
		s.t.Errorf("a dry run has written %d times:\n%s", s.memory.Writes-writes, diff)
	}
	return texts(ops)
}

// TestADryRunIsWhatAStartDoes: the same operations in the same order, on a new node, when Services have changed, and
// when somebody has changed the kernel; and nothing where all is in line.
func TestADryRunIsWhatAStartDoes(t *testing.T) {
	s := newScenario(t, 0, 0)
	s.memory.AfterEach = nil
	start := func(what string, atLeast int) {
		t.Helper()
		planned := s.dryRun()
		s.restart()
		recording := &recordingKernel{Kernel: s.memory}
		s.engine.kernel = recording
		s.converge(nil, false)
		if diff := cmp.Diff(planned, recording.ops); diff != "" {
			t.Errorf("%s (-planned +done):\n%s", what, diff)
		}
		if len(planned) < atLeast {
			t.Errorf("%s: %d operations are planned, want %d or more: %q", what, len(planned), atLeast, planned)
		}
		if again := s.dryRun(); len(again) != 0 {
			t.Errorf("after %s there is something to do: %q", what, again)
		}
	}
	s.apply([]byte(manyServices(300)))
	start("a new node", 300*7)
	s.apply([]byte(sliceOf(3, 6)))
	s.apply([]byte(sliceOf(4, 5)))
	start("a new endpoint", 1)
	delete(s.objects.services, cluster.Name{Namespace: "default", Name: "s7"})
	start("a Service less", 4)
	state := s.memory.State()
	for id := range state.VirtualServers {
		if id.Addr.String() == "10.96.0.9" || id.Addr.String() == "10.96.1.9" {
			state.DropVirtualServer(id)
		}
	}
	delete(state.Sysctls, "net.ipv4.vs.conntrack")
	for e := range state.Entries.All() {
		if e.Entry.Addr.String() == "10.96.0.20" {
			state.Entries.Drop(e)
		}
	}
	start("drift of two virtual servers, a sysctl and entries", 2*6+1+1)
}
