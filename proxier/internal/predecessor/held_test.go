package predecessor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestALockIsWaitedForOnce: the tables share the lock of iptables. A program that keeps it costs one wait, not one for
// each table.
func TestALockIsWaitedForOnce(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	for complaint, want := range map[string]int{
		"Another app is currently holding the xtables lock; waited 10s.": 1,
		"Bad argument": 3,
	} {
		started := filepath.Join(dir, "started")
		script := "#!/bin/sh\ncat >/dev/null\necho >>" + started + "\necho '" + complaint + "' >&2\nexit 4\n"
		if err := os.WriteFile(filepath.Join(dir, "iptables-restore"), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		l := Leftovers{Proxy: KubeProxy}
		for _, table := range []string{"filter", "nat", "mangle"} {
			l.removals = append(l.removals, familyRemoval{"iptables", removal{table: table, chains: []string{"KUBE-SERVICES"}}})
		}
		err := l.removeRules(t.Context())
		text, readErr := os.ReadFile(started)
		if readErr != nil || strings.Count(string(text), "\n") != want {
			t.Errorf("%q: started %d times, want %d (%v)", complaint, strings.Count(string(text), "\n"), want, readErr)
		}
		if err == nil || !strings.Contains(err.Error(), complaint) ||
			strings.Contains(err.Error(), "2 more tables") != (want == 1) {
			t.Errorf("%q: got %v", complaint, err)
		}
		if err := os.Remove(started); err != nil {
			t.Fatal(err)
		}
	}
}
