package engine

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// cleanUp reads the kernel and removes what is ours; another proxy has the link kube-ipvs0 as well.
func cleanUp(t *testing.T, k dataplane.Kernel, link string, o Removing) (Removal, error) {
	t.Helper()
	seen, err := k.Observe()
	if err != nil {
		t.Fatal(err)
	}
	o.Link, o.Shared = link, link == "kube-ipvs0"
	return Remove(k, seen.State, o)
}

// leftOf returns the lines of the state but for sysctls, which nobody sets back.
func leftOf(s *scenario) (left []string) {
	for line := range strings.Lines(s.memory.State().Text()) {
		if !strings.HasPrefix(line, "sysctl ") {
			left = append(left, strings.TrimSpace(line))
		}
	}
	return left
}

// TestCleanup removes what is ours and leaves what is not; before that, --dry-run says all that, and removes nothing.
func TestCleanup(t *testing.T) {
	s := newScenario(t, 0, 0)
	s.do([]string{"foreign", "tcp", "10.96.7.7:80", "wrr"})
	s.converge(s.apply([]byte(manyServices(3))), false)
	before := s.memory.State().Text()
	plan, err := cleanUp(t, s.memory, "kube-ipvs0", Removing{DryRun: true})
	if err != nil || s.memory.State().Text() != before {
		t.Fatalf("the dry run changes something, or fails: %v", err)
	}
	done, err := cleanUp(t, s.memory, "kube-ipvs0", Removing{})
	if err != nil || len(done.Objects) == 0 || done.Left != "" {
		t.Fatalf("cleanup: %d objects, %q, %v", len(done.Objects), done.Left, err)
	}
	if !slices.Equal(plan.Objects, done.Objects) {
		t.Errorf("the dry run says\n%q\nremoved is\n%q", plan.Objects, done.Objects)
	}
	if left := leftOf(s); len(left) != 1 || left[0] != "virtual-server tcp 10.96.7.7:80 wrr" {
		t.Errorf("left: %q, want the foreign virtual server alone", left)
	}
	if again, err := cleanUp(t, s.memory, "kube-ipvs0", Removing{}); err != nil || len(again.Objects) != 0 {
		t.Errorf("the second cleanup: %q, %v", again.Objects, err)
	}
}

// TestCleanupGoesOn: what the kernel does not remove is reported, and the rest goes.
func TestCleanupGoesOn(t *testing.T) {
	s := newScenario(t, 0, 0)
	s.converge(s.apply([]byte(manyServices(3))), false)
	done, err := cleanUp(t, &brokenKernel{
		Kernel: s.memory, refuse: func(op dataplane.Op) bool { return strings.Contains(op.String(), "10.96.0.2:80") },
	}, "kube-ipvs0", Removing{})
	if err == nil || !strings.Contains(err.Error(), "10.96.0.2:80") || len(done.Objects) == 0 ||
		len(s.memory.State().VirtualServers) != 1 {
		t.Errorf("%d objects, %v, left:\n%s", len(done.Objects), err, s.memory.State().Text())
	}
}

// kubeProxys makes in the kernel what kube-proxy has on its link.
func kubeProxys(s *scenario, addresses ...string) {
	state := s.memory.State()
	state.Links["kube-ipvs0"] = struct{}{}
	for _, text := range addresses {
		addr := netip.MustParseAddr(text)
		state.Addresses[addr] = struct{}{}
		state.SetVirtualServer(dataplane.VirtualServerID{Addr: addr, Port: 80, Protocol: cluster.TCP},
			dataplane.VirtualServer{Scheduler: "rr"})
	}
}

// TestCleanupWithoutSets: on a node where no set of ours is, the link kube-ipvs0 is somebody else's, with all that is
// on it.
func TestCleanupWithoutSets(t *testing.T) {
	for name, c := range map[string]struct {
		link    string
		options Removing
		stays   bool
	}{
		"kube-proxy's link":           {"kube-ipvs0", Removing{}, true},
		"kube-proxy's link, by force": {"kube-ipvs0", Removing{Force: true}, false},
		"a link of a name of our own": {"ipvsp0", Removing{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScenario(t, 0, 0)
			s.tampered = true
			kubeProxys(s, "10.96.0.10", "fd00:10:96::10")
			if c.link != "kube-ipvs0" {
				state := s.memory.State()
				delete(state.Links, "kube-ipvs0")
				state.Links[c.link] = struct{}{}
			}
			before := s.memory.State().Text()
			done, err := cleanUp(t, s.memory, c.link, c.options)
			if err != nil {
				t.Fatal(err)
			}
			if !c.stays {
				if left := leftOf(s); len(left) != 0 || done.Left != "" {
					t.Errorf("left: %q (%s)", left, done.Left)
				}
				return
			}
			if now := s.memory.State().Text(); now != before || len(done.Objects) != 0 {
				t.Errorf("removed: %q\nleft:\n%s", done.Objects, now)
			}
			for _, said := range []string{"kube-ipvs0", "2 addresses", "2 virtual servers", "--force"} {
				if !strings.Contains(done.Left, said) {
					t.Errorf("it does not say %q: %s", said, done.Left)
				}
			}
		})
	}
}

// TestHandOver: in both modes what carries connections stays, and chains, sets and routes go, which kube-proxy would
// never remove.
func TestHandOver(t *testing.T) {
	for _, mode := range []dataplane.VIPMode{dataplane.ByAddress, dataplane.ByRoute} {
		t.Run(mode.String(), func(t *testing.T) {
			s := newScenario(t, 0, 0)
			s.mode = mode
			s.restart()
			s.converge(s.apply([]byte(manyServices(3))), false)
			s.memory.AfterEach = nil
			stay := func() (lines []string) {
				for _, line := range leftOf(s) {
					if kind, _, _ := strings.Cut(line, " "); slices.Contains([]string{
						"virtual-server", "->", "address", "link",
					}, kind) {
						lines = append(lines, line)
					}
				}
				return lines
			}
			before := stay()
			if _, err := cleanUp(t, s.memory, "kube-ipvs0", Removing{HandOver: true}); err != nil {
				t.Fatal(err)
			}
			if left := leftOf(s); len(before) < 4 || !slices.Equal(left, before) {
				t.Errorf("left:\n%s\nwant\n%s", strings.Join(left, "\n"), strings.Join(before, "\n"))
			}
		})
	}
}
