//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
)

// TestCleanupRefuses: cleanup removes nothing beside a living proxy, and nothing in a dry run. While it removes, no
// proxier starts. What a dry run lists is what a real run removes.
func TestCleanupRefuses(t *testing.T) {
	c := newCluster(t)
	c.write("web.yaml", with(web(nodePort), c.backend(1, 10, "one")))
	c.run()
	before := c.dataplane()
	// cleanup runs it and returns the lines of its output, with what it says beside it.
	cleanup := func(args ...string) (lines []string, failed error) {
		t.Helper()
		output, err := programs.Cleanup(c.Node1, args...)
		return strings.Split(strings.TrimSpace(output), "\n"), err
	}
	leaves := func(when string) {
		t.Helper()
		if now := c.dataplane(); now != before {
			t.Fatalf("%s the dataplane is\n%s\nwant\n%s", when, now, before)
		}
	}
	refuses := func(words string, args ...string) {
		t.Helper()
		lines, err := cleanup(args...)
		if said := fmt.Sprint(err, lines); err == nil || !strings.Contains(said, words) {
			t.Errorf("cleanup %v: want a refusal that says %q, got %s", args, words, said)
		}
		leaves(fmt.Sprintf("after cleanup %v", args))
	}
	for _, args := range [][]string{nil, {"--force"}, {"--hand-over"}, {"--dry-run"}, {"--dry-run", "--force"}} {
		refuses("ipvs-proxier", args...)
	}
	c.must(c.proxier.Stop())

	end := c.imitate()
	refuses("kube-proxy is alive")
	refuses("kube-proxy is alive", "--dry-run")
	said, err := cleanup("--dry-run", "--force")
	c.must(err)
	leaves("after a dry run by force")
	end()
	again, err := cleanup("--dry-run")
	c.must(err)
	leaves("after a dry run")
	count := len(said) - 1
	if strings.Join(said, "\n") != strings.Join(again, "\n") ||
		said[count] != fmt.Sprintf("%d objects would be removed", count) {
		t.Errorf("by force it would remove\n%s\nand without\n%s", strings.Join(said, "\n"), strings.Join(again, "\n"))
	}
	for _, object := range []string{"virtual-server tcp " + web4.String(), "link kube-ipvs0", "address " +
		web4.Addr().String()} {
		if !strings.Contains(strings.Join(said, "\n"), object) {
			t.Errorf("it would leave %s:\n%s", object, strings.Join(said, "\n"))
		}
	}

	// While a program of iptables makes it wait, it has the lock.
	restore, err := exec.LookPath("iptables-restore")
	c.must(err)
	dir := t.TempDir()
	waits, goOn := filepath.Join(dir, "waits"), filepath.Join(dir, "go-on")
	script := "#!/bin/sh\ncase $* in *noflush*) >" + waits + "; until [ -e " + goOn +
		" ]; do sleep 0.1; done;; esac\nexec " + restore + ` "$@"` + "\n"
	c.must(os.WriteFile(filepath.Join(dir, "iptables-restore"), []byte(script), 0o755))
	cleaning, err := harness.Start(c.Node1, "sh", "-c", "PATH="+dir+":$PATH exec "+programs.Path("ipvs-proxier")+
		" cleanup")
	c.must(err)
	t.Cleanup(cleaning.Kill)
	c.await(func() error {
		if _, err := os.Stat(waits); err != nil {
			return fmt.Errorf("cleanup does not wait: %w\n%s", err, cleaning.Output())
		}
		return nil
	})
	if lines, err := cleanup(); err == nil || !strings.Contains(fmt.Sprint(err, lines), "ipvs-proxier") {
		t.Errorf("a second cleanup beside it: %v, %v", err, lines)
	}
	c.start("--manifests", c.manifests)
	refused(t, c.proxier, "ipvs-proxier")
	c.must(os.WriteFile(goOn, nil, 0o644))
	c.await(func() error {
		if !cleaning.Ended() {
			return fmt.Errorf("cleanup runs: %s", cleaning.Output())
		}
		return nil
	})
	if want := fmt.Sprintf("%d objects removed", count); !strings.Contains(cleaning.Output(), want) {
		t.Errorf("cleanup says %q, want %q", cleaning.Output(), want)
	}
	if now := c.dataplane(); strings.Contains(now, "IPVSP-") || strings.Contains(now, web4.String()) {
		t.Errorf("cleanup leaves\n%s", now)
	}
	if lines, err := cleanup(); err != nil || lines[0] != "0 objects removed" {
		t.Errorf("cleanup of nothing: %v, %q", err, lines)
	}
}
