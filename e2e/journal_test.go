//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// TestJournalSaysWhatChanged: a start, a change of endpoints and the repair of what somebody else has changed are in
// the journal, each with its Service, its cause and its operations; and so they are on the page of the Service.
func TestJournalSaysWhatChanged(t *testing.T) {
	c := newCluster(t)
	one, two := c.backend(1, 10, "one"), c.backend(2, 10, "two")
	c.write("web.yaml", with(web(), one))
	c.run("--audit-period", "1s")
	journal := func(args ...string) (causes string, text string) {
		t.Helper()
		text, err := c.Node1.Run(programs.Path("ipvs-proxier"), append([]string{"journal", "-o", "json"}, args...)...)
		c.must(err)
		var j struct {
			Entries []struct {
				Cause, Name string
				Operations  []struct{ Verb, Object, Error string }
			}
		}
		c.must(json.Unmarshal([]byte(text), &j))
		text = ""
		for _, e := range j.Entries {
			causes += e.Cause + " " + e.Name + ";"
			for _, o := range e.Operations {
				text += o.Verb + " " + o.Object + " " + o.Error + "\n"
			}
		}
		return causes, text
	}
	if causes, text := journal(); causes != "start ;" {
		t.Errorf("after a start the journal says %q:\n%s", causes, text)
	}
	c.write("web.yaml", with(web(), one, two))
	added := "tcp 10.96.0.10:80 -> " + at(two.IPv4, 8080).String() + " weight 1"
	c.await(func() error {
		if causes, text := journal("default/web"); !strings.HasPrefix(causes, "change web;") ||
			!strings.Contains(text, added) {
			return fmt.Errorf("after a change the journal says %q:\n%s", causes, text)
		}
		return nil
	})
	_, err := c.Node1.Run("ipvsadm", "-d", "-t", web4.String(), "-r", at(two.IPv4, 8080).String())
	c.must(err)
	c.await(func() error {
		if causes, text := journal("--cause", "drift"); causes != "drift web;" || !strings.Contains(text, added) {
			return fmt.Errorf("after the repair the journal says %q:\n%s", causes, text)
		}
		return nil
	})
	page, _ := c.proxier.StatusText("default/web")
	if _, changes, _ := strings.Cut(page, "LAST CHANGES"); !strings.Contains(changes, "drift") ||
		!strings.Contains(changes, "create real-server "+added) {
		t.Errorf("the page of the Service does not show it:\n%s", page)
	}
	text, err := c.Node1.Run(programs.Path("ipvs-proxier"), "journal")
	c.must(err)
	t.Logf("the journal:\n%s", text)
}
