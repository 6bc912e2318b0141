//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// explained is what `explain -o json` says.
type explained struct {
	Steps      []struct{ Hook, Text, Rule string }
	Candidates []struct {
		Address, Excluded  string
		Chosen, Masquerade bool
	}
	Outcome, Client string
}

// explain asks the program what becomes of a packet on node1.
func (c *cluster) explain(from *topology.Host, network string, to netip.AddrPort, more ...string) explained {
	c.t.Helper()
	client := "node"
	if from != c.Node1 {
		client = hostAddr(from, to.Addr()).String()
	}
	args := append([]string{"explain", "--from", client, "--to", to.String(), "--protocol", network, "-o", "json"},
		more...)
	text, err := c.Node1.Run(programs.Path("ipvs-proxier"), args...)
	c.must(err)
	var said explained
	c.must(json.Unmarshal([]byte(text), &said))
	return said
}

// TestExplainAgreesWithTraffic: what explain says of a packet is what happens to it, in every case of TestTraffic, once
// for each Service, client and target, by turns in either protocol and family.
func TestExplainAgreesWithTraffic(t *testing.T) {
	c := newCluster(t)
	hosts := c.caseHosts()
	cells := c.writeCases(hosts)
	c.run("--external-ip-cidrs", caseExternalCIDRs)
	names := map[netip.Addr]string{}
	for _, name := range []string{"p1", "p2", "r", "host"} {
		names[hosts[name].IPv4], names[hosts[name].IPv6] = name, name
	}
	asked := map[string]bool{}
	for i := 0; i < len(cells); i++ {
		key := cells[i].service + cells[i].from + cells[i].target
		if asked[key] {
			continue
		}
		asked[key] = true
		cell := cells[i]
		for j := i; j <= i+len(asked)%4 && j < len(cells) && cells[j].service+cells[j].from+cells[j].target == key; j++ {
			cell = cells[j]
		}
		said := c.explain(hosts[cell.from], cell.network, cell.to)
		if got := said.sum(names); !agrees(cell.want, got) {
			t.Errorf("%s -> %s (%s), %s %s: it happens: %s; it says: %s\n%+v",
				cell.from, cell.to, cell.service, cell.network, cell.target, cell.want, got, said)
		}
	}
	t.Logf("%d packets explained", len(asked))
}

// sum returns the explanation in the words of a cell, as far as it goes: which endpoints may answer, and whether they
// see the client.
func (e explained) sum(names map[netip.Addr]string) string {
	if e.Outcome != "served" {
		return e.Outcome
	}
	var who []string
	for _, candidate := range e.Candidates {
		if candidate.Excluded != "" {
			continue
		}
		as := "own"
		if candidate.Masquerade {
			as = "node"
		}
		who = append(who, names[netip.MustParseAddrPort(candidate.Address).Addr()]+" "+as)
	}
	slices.Sort(who)
	return strings.Join(who, ", ")
}

// agrees reports whether what is said is what happens. Whoever sees an address of the node, whichever, is masqueraded.
func agrees(happens, said string) bool {
	switch said {
	case "refused", "rejected":
		return happens == "refused"
	case "dropped":
		return happens == "timeout" || happens == "refused" // the node's own UDP client gets EPERM
	case "no front end":
		return happens == "refused" || happens == "timeout" // by whatever is there
	}
	happens = regexp.MustCompile(` (gw|node|vip)\b`).ReplaceAllString(strings.ReplaceAll(happens, " | ", ", "), " node")
	return happens == said
}

// TestExplainRefusesWhatMakesNoSense: a wrong question ends with 2 and names the flag.
func TestExplainRefusesWhatMakesNoSense(t *testing.T) {
	c := newCluster(t)
	for _, q := range []struct{ args, want string }{
		{"--to 10.96.0.10:80", "--from"},
		{"--from 10.244.1.9", "--to"},
		{"--from 10.244.1.9 --to 10.96.0.10", "--to"},
		{"--from 10.244.1.9 --to [fd00::1]:80", "family"},
		{"--from 10.244.1.9 --to 10.96.0.10:80 --protocol icmp", "--protocol"},
		{"--from node --to 10.96.0.10:80 --interface eth0", "--interface"},
		{"--from nodes --to 10.96.0.10:80", "--from"},
		{"--from 224.0.0.1 --to 10.96.0.10:80", "--from"},
		{"--from 10.244.1.9 --to 10.96.0.10:80 -o yml", "output"},
	} {
		text, err := c.Node1.Run("sh", "-c", fmt.Sprintf("%s explain %s 2>&1; echo status $?",
			programs.Path("ipvs-proxier"), q.args))
		c.must(err)
		if !strings.Contains(text, q.want) || !strings.HasSuffix(strings.TrimSpace(text), "status 2") {
			t.Errorf("explain %s: %s; want %s and status 2", q.args, text, q.want)
		}
	}
}
