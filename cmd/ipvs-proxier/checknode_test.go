package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/proxier"
)

// TestCheckNodeIsASubcommand: "node" alone is this node, and all else is of files and annotations as before.
func TestCheckNodeIsASubcommand(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.Mkdir("node", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("node", "web.yaml"), []byte(checkedManifests), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"node/weight=3"}, {"./node"}, {"node/web.yaml"}} {
		out, err := checked(t, args...)
		if of := "Service default/web"; strings.Contains(args[0], "weight") != (out == "node/ipvs-proxier.io/weight=3\n" ||
			out == "ipvs-proxier.io/weight=3\n") ||
			!strings.Contains(args[0], "weight") && !strings.Contains(out, of) {
			t.Errorf("check %v: %v\n%s", args, err, out)
		}
	}
	for _, args := range [][]string{{"node"}, {"-o", "json", "node"}, {"node", "-o", "json"}} {
		out, err := checked(t, append(args, "--manifests", dir, "--node-name", "n1")...)
		if errors.As(err, new(usageError)) {
			t.Fatalf("check %v: %v", args, err)
		}
		var report proxier.NodeReport
		isJSON := json.Unmarshal([]byte(out), &report) == nil
		if isJSON != (len(args) > 1) || !strings.Contains(out, "node n1") || !strings.Contains(out, "IPX-201") {
			t.Errorf("check %v: %v\n%s", args, err, out)
		}
	}
	for _, args := range [][]string{
		{"node", "web.yaml"}, {"node", "-o", "yaml"}, {"node", "--node-name", "n1", "--vip-mode", "x"},
	} {
		if out, err := checked(t, args...); !errors.As(err, new(usageError)) {
			t.Errorf("check %v: %v, want wrong use\n%s", args, err, out)
		}
	}
}
