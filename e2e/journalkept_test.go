//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// TestTheJournalSurvives: what was done before a SIGKILL is read while the daemon is dead, and from the next one. A
// full disk costs the journal on it, and nothing else.
func TestTheJournalSurvives(t *testing.T) {
	c := newCluster(t)
	client := c.pod(1, 50, "client")
	one, two := c.backend(1, 10, "one"), c.backend(2, 10, "two")
	c.write("web.yaml", with(web(), one))
	dir := filepath.Join(t.TempDir(), "state")
	c.run("--state-dir", dir)
	journal := func() (before, now, operations string) {
		t.Helper()
		text, err := c.Node1.Run("sh", "-c", programs.Path("ipvs-proxier")+" journal -o json --state-dir "+dir+" 2>/dev/null")
		c.must(err)
		var j struct {
			Entries []struct {
				Cause         string
				BeforeRestart bool
				Operations    []struct{ Object string }
			}
		}
		c.must(json.Unmarshal([]byte(text), &j))
		for _, e := range j.Entries {
			if e.BeforeRestart {
				before += e.Cause + " "
			} else {
				now += e.Cause + " "
			}
			for _, o := range e.Operations {
				operations += o.Object + "\n"
			}
		}
		return before, now, operations
	}
	added := []string{web4.String() + " -> " + at(two.IPv4, 8080).String(), web6.String() + " -> " +
		at(two.IPv6, 8080).String()}
	changed := func(operations string) bool {
		return strings.Contains(operations, added[0]) && strings.Contains(operations, added[1])
	}
	c.write("web.yaml", with(web(), one, two))
	c.await(func() error {
		if _, now, operations := journal(); !strings.HasPrefix(now, "start change") || !changed(operations) {
			return fmt.Errorf("after a change the journal says %s:\n%s", now, operations)
		}
		return nil
	})
	c.proxier.Kill()
	if before, now, operations := journal(); before != "" || !strings.HasPrefix(now, "start change") ||
		!changed(operations) {
		t.Errorf("of the dead daemon the journal says %q, %q:\n%s", before, now, operations)
	}
	c.again()
	c.await(func() error {
		if before, _, operations := journal(); !strings.HasPrefix(before, "start change") || !changed(operations) {
			return fmt.Errorf("in the next life the journal says %q:\n%s", before, operations)
		}
		return nil
	})
	text, err := c.Node1.Run(programs.Path("ipvs-proxier"), "journal")
	if err != nil || !strings.Contains(text, "all above was before the last start") {
		t.Errorf("journal ends with %v:\n%s", err, text)
	}
	t.Logf("the journal:\n%s", text)
	c.proxier.Kill()

	_, err = c.Node1.Run("sh", "-c", "mkdir -p "+dir+"/full && mount -t tmpfs -o size=4k none "+dir+"/full")
	c.must(err)
	defer c.Node1.Run("umount", "-l", dir+"/full") // the proxier lives a little longer
	c.run("--state-dir", dir+"/full")
	both := false
	c.await(func() error {
		if strings.Contains(c.proxier.Output(), "the journal is not kept over a restart") {
			return nil
		}
		both = !both
		c.write("web.yaml", with(web(), one))
		if both {
			c.write("web.yaml", with(web(), one, two))
		}
		return errors.New("the disk is not full")
	})
	c.write("web.yaml", with(web(), two))
	c.await(func() error {
		if id := c.ask(client, "tcp", web4).ID; id != "two" {
			return fmt.Errorf("with a full disk %s answers", id)
		}
		return nil
	})
	if text, err := c.proxier.StatusText(); err != nil {
		t.Errorf("with a full disk status ends with %v:\n%s", err, text)
	}
	if text, err := c.Node1.Run(programs.Path("ipvs-proxier"), "journal"); err != nil ||
		!strings.Contains(text, "not kept over a restart: write") {
		t.Errorf("with a full disk journal ends with %v:\n%s", err, text)
	}
}
