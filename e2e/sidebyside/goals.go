package sidebyside

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/figures"
)

// The names of scenarios that goals speak of.
const (
	Unmasqueraded = "a pod asks a cluster IP"
	OneClient     = "one client, masqueraded"
	FiftyClients  = "fifty clients from outside, node port"
	UDPTimeouts   = "UDP exchanges, masqueraded"
	FiftyUDP      = "UDP exchanges of fifty clients from outside, node port"
	OneSCTP       = "SCTP associations, masqueraded"
	FiftySCTP     = "SCTP associations of fifty clients from outside, node port"
)

// goalRow is a goal. nft is the same ratio with our nftables backend, and bare that with virtual servers made by hand
// in our place: what the kernel leaves to reach.
type goalRow struct{ what, least, is, verdict, nft, bare string }

func goalTable(r *Result) string {
	var rows []goalRow
	for _, s := range r.Scenarios {
		switch {
		case s.Bystander:
			rows = append(rows, s.goal(s.Name+", beside "+Tracked, Tracked, 0.95))
			if s.Datagrams {
				rows = append(rows, s.goal(s.Name+", beside "+ProxyNFT, ProxyNFT, 1.2))
			}
		case strings.HasPrefix(s.Name, Unmasqueraded) && !s.Datagrams:
			rows = append(rows, s.goal(s.Name+", beside "+Bare, Bare, 0.95))
		}
	}
	rows = append(rows, stallGoals(r)...)
	text := "Each is a ratio of ipvs-proxier to what it is compared with. The last columns are the same ratio of\n" +
		"ipvs-proxier with `--netfilter=nftables`, and of " + Bare + ", a kernel with virtual servers and no proxy.\n\n" +
		"| what | at least | is | | with nftables | " + Bare + " |\n|---|---|---|---|---|---|\n"
	for _, row := range rows {
		text += fmt.Sprintf("| %s | %s | %s | %s | %s | %s |\n",
			row.what, row.least, row.is, row.verdict, cmp.Or(row.nft, "–"), cmp.Or(row.bare, "–"))
	}
	return text
}

func (s *Scenario) goal(what, against string, least float64) goalRow {
	row := goalRow{what: what, least: fmt.Sprint(least), is: "–", verdict: "not measured"}
	if ratio, known := figures.Paired(s.Rates[Ours], s.Rates[against]); known {
		row.is, row.verdict = ratio.Text(), ratio.Verdict(least)
	}
	if ratio, known := figures.Paired(s.Rates[OursNFT], s.Rates[against]); known {
		row.nft = ratio.Text()
	}
	if ratio, known := figures.Paired(s.Rates[Bare], s.Rates[against]); known && against != Bare {
		row.bare = ratio.Text()
	}
	return row
}

func stallGoals(r *Result) (rows []goalRow) {
	for _, name := range []string{OneClient, FiftyClients} {
		row := goalRow{
			what: name + ": last ten seconds beside the first ten", least: "0.95", is: "–", verdict: "not measured",
		}
		ours := r.stall(name, Ours)
		if ours != nil {
			if ratio, known := ours.lastBesideFirst(); known {
				row.is, row.verdict = ratio.Text(), ratio.Verdict(0.95)
			}
		}
		for variant, column := range map[string]*string{OursNFT: &row.nft, Bare: &row.bare} {
			if other := r.stall(name, variant); other != nil {
				if ratio, known := other.lastBesideFirst(); known {
					*column = ratio.Text()
				}
			}
		}
		rows = append(rows, row)
		if name != OneClient {
			continue
		}
		syns := goalRow{what: name + ": SYNs sent again", least: "none", is: "–", verdict: "not measured"}
		beside := goalRow{what: name + ": last ten seconds, beside " + ProxyNFT, least: "2", is: "–", verdict: "not measured"}
		if ours != nil {
			n := ours.synsAgain()
			syns.is, syns.verdict = fmt.Sprint(n), "reached"
			if n > 0 {
				syns.verdict = "missed"
			}
			if ratio, known := ours.lastBeside(r.stall(name, ProxyNFT)); known {
				beside.is, beside.verdict = ratio.Text(), ratio.Verdict(2)
			}
		}
		if other := r.stall(name, OursNFT); other != nil {
			syns.nft = fmt.Sprint(other.synsAgain())
			if ratio, known := other.lastBeside(r.stall(name, ProxyNFT)); known {
				beside.nft = ratio.Text()
			}
		}
		rows = append(rows, syns, beside)
	}
	return rows
}

func (r *Result) stall(name, variant string) *Stall {
	for _, s := range r.Stalls {
		if s.Name == name && s.Variant == variant {
			return s
		}
	}
	return nil
}
