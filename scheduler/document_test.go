package scheduler_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// weighs is a test of the page's scheduler among the program's own: what a Service that chooses it gets.
const weighs = `package dataplane_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

func TestNear(t *testing.T) {
	s := cluster.Service{Name: cluster.Name{Namespace: "ns", Name: "web"}, ClusterIPs: []netip.Addr{netip.MustParseAddr("10.96.0.10")}}
	port := cluster.ServicePort{Protocol: cluster.TCP, Port: 80, Scheduler: "near"}
	for i, zone := range []string{"a", "b", "a", ""} {
		addr := netip.AddrFrom4([4]byte{10, 244, 0, byte(i)})
		port.Endpoints = append(port.Endpoints, cluster.Endpoint{Addr: addr, Port: 80, Ready: true, Weight: uint32(i + 1), Place: scheduler.Place{Zone: zone}})
	}
	s.Ports = append(s.Ports, port)
	w := dataplane.NewWant(dataplane.NewState())
	w.Set(dataplane.Compile(s, dataplane.Node{Name: "n1", Zone: "a"}, dataplane.Config{Families: []cluster.Family{cluster.IPv4}}), map[cluster.Name]struct{}{})
	for _, v := range w.State.VirtualServers {
		got := map[byte]uint32{}
		for _, r := range v.RealServers {
			got[r.Addr.As4()[3]] = r.Weight
		}
		if want := map[byte]uint32{0: 4, 1: 2, 2: 12, 3: 4}; v.Scheduler != "wrr" || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s with %v, want wrr with %v", v.Scheduler, got, want)
		}
		return
	}
	t.Error("no virtual server")
}
`

// TestDocument: the scheduler of docs/adding-a-scheduler.md compiles, passes the registry's tests, can be chosen, and
// does what it says.
func TestDocument(t *testing.T) {
	page, err := os.ReadFile("../docs/adding-a-scheduler.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "```go\n")
	code, _, closed := strings.Cut(rest, "```")
	if !found || !closed {
		t.Fatal("the page has no code")
	}
	if lines := strings.Count(code, "\n"); lines > 32 {
		t.Errorf("the page's scheduler has %d lines; about 30 were promised", lines)
	}
	run := overlaid(t, map[string]string{"scheduler/near.go": code, "proxier/internal/dataplane/near_test.go": weighs})
	run("vet", "./scheduler", "./proxier/internal/dataplane")
	run("test", "-skip", "^TestDocument$", "./scheduler")
	run("test", "-run", "^(TestTable|TestValues|TestCorpus)$", "./proxier/internal/annotation")
	if out := run(
		"test", "-run", "^TestNear$", "-v", "./proxier/internal/dataplane",
	); !strings.Contains(out, "--- PASS: TestNear") {
		t.Errorf("the weights were not looked at:\n%s", out)
	}
	if out := run(
		"run", "./cmd/ipvs-proxier", "check", "scheduler=Zone-First",
	); !strings.Contains(out, "ipvs-proxier.io/scheduler=near") {
		t.Errorf("check says %q", out)
	}
}

// overlaid returns how to run the go command in this repository with these files in it, by their paths, which are not
// there. What it runs has to succeed, but for a command that is expected to find Problems.
func overlaid(t *testing.T, files map[string]string) (run func(args ...string) string) {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir, replace := t.TempDir(), map[string]string{}
	for path, text := range files {
		file := filepath.Join(dir, strings.ReplaceAll(path, "/", "-"))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(root, path)] = file
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	return func(args ...string) string {
		t.Helper()
		c := exec.Command("go", append([]string{args[0], "-overlay", file}, args[1:]...)...)
		c.Dir = root
		out, err := c.CombinedOutput()
		if err != nil && !(args[0] == "run" && strings.Contains(string(out), "exit status 1")) {
			t.Errorf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
}
