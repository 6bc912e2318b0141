package sidebyside

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/figures"
)

// Variants are all of them, in the order of the tables.
var Variants = []string{None, Tracked, Bare, BareFilter, BareRandom, Ours, OursNFT, ProxyVS, ProxyNFT}

// Page writes the whole page.
func Page(r *Result) string {
	var b strings.Builder
	b.WriteString(head(r))
	b.WriteString("\n## Goals\n\n" + goalTable(r))
	b.WriteString("\n## Bystanders\n\nTraffic that is no Service's, on a node that has a proxy. Ratios are to the node with tracking.\n\n")
	for _, s := range r.Scenarios {
		if s.Bystander {
			b.WriteString(rates(s, Tracked))
		}
	}
	b.WriteString("\n## Through Services\n\nRatios are to the virtual server made by hand.\n\n")
	for _, s := range r.Scenarios {
		if !s.Bystander {
			b.WriteString(rates(s, Bare))
		}
	}
	b.WriteString(stalls(r))
	b.WriteString(reproduce)
	return b.String()
}

func head(r *Result) string {
	rounds := 0
	for _, s := range r.Scenarios {
		for _, v := range s.Rates {
			rounds = max(rounds, len(v))
		}
	}
	text := fmt.Sprintf(`# What a Service costs its clients and its bystanders

Written by a program from what it measured; nothing in it is typed in.

| | |
|---|---|
| kernel | %s |
| machine | %s |
| date | %s |
| command | `+"`%s`"+` |
| rounds | %d, each variant %.3g s a round |
| Services beside those asked | %d |

Each variant is a node, that is a network namespace with its pods, in one guest. All stand there all the time
and have the same endpoints. In each round every variant has its turn, in an order that alternates. The proxies
read one API server. Once they have written their rules they are ended, and the API server too: what is measured
is what they left in the kernel, and nobody's background work.

| variant | what the node has |
|---|---|
| %s | no rule, and nothing tracks connections |
| %s | one NAT rule, as any network plug-in has: connections are tracked |
| %s | virtual servers made with ipvsadm, `+"`net.ipv4.vs.conntrack=1`"+`, and one NAT rule that masquerades |
| %s | bare IPVS, and one rule in filter INPUT that asks the state of the connection and drops nothing; not in long runs |
| %s | bare IPVS, with `+"`--random-fully`"+`; in long runs only |
| %s | this program, with its defaults |
| %s | this program, with `+"`--netfilter=nftables`"+` |
| %s | kube-proxy 1.37 in ipvs mode |
| %s | kube-proxy 1.37 in nftables mode |
`, r.Kernel, r.Machine, r.Date, r.Command, rounds, r.Seconds, r.Services, None, Tracked, Bare, BareFilter, BareRandom,
		Ours, OursNFT, ProxyVS, ProxyNFT)
	for _, v := range Variants {
		if why, left := r.Without[v]; left {
			text += fmt.Sprintf("\nLeft out: %s. %s\n", v, why)
		}
	}
	return text + `
**Connections** are counted by ipvs-load in a closed loop of eight: connect, request, reply, close.
**Datagrams** have 32 bytes. One socket sends them as fast as it can, 64 in a system call, and those are counted
that arrive at the listener's socket. Client, node and endpoint share the guest's processors: a ratio shows less
than the node alone costs.

With ` + "`LAB_CLOCK`" + ` in the command, the guest's clock counts instructions: each takes the time that is given there,
whatever else the machine does. A rate then says how many instructions a connection costs the client, the node and the
endpoint together; caches and memory count for nothing.

Tables have the median of the rounds, and its ratio to the median of another variant with its 95 % interval, which
comes of 10,000 resamplings of whole rounds.
`
}

func rates(s *Scenario, against string) string {
	unit := "connections a second"
	if s.Datagrams {
		unit = "datagrams a second"
	}
	text := fmt.Sprintf("### %s\n\n%s\n\n| variant | %s | least to most | beside %s | errors |\n|---|---|---|---|---|\n",
		s.Name, s.What, unit, against)
	for _, v := range Variants {
		all := s.Rates[v]
		if len(all) == 0 {
			continue
		}
		beside := "–"
		if ratio, known := figures.Paired(all, s.Rates[against]); known && v != against {
			beside = ratio.Text()
		}
		text += fmt.Sprintf("| %s | %s | %s to %s | %s | %d |\n", v, figures.Thousands(figures.Median(all)),
			figures.Thousands(slices.Min(all)), figures.Thousands(slices.Max(all)), beside, s.Errors[v])
	}
	return text + "\n"
}

func stalls(r *Result) string {
	text := "\n## Long runs\n\nSome endpoints keep what is over: one that closes first keeps TIME_WAIT, and drops the SYN of a connection that has\n" +
		"the same ports but an older timestamp. The client then sends its SYN again. Of several runs a rate is the median,\n" +
		"and a counter the sum. A ratio of a single run has no interval.\n\n"
	var names []string
	for _, s := range r.Stalls {
		if !slices.Contains(names, s.Name) {
			names = append(names, s.Name)
			text += stallTable(r, s)
		}
	}
	return text
}

func stallTable(r *Result, first *Stall) string {
	text := fmt.Sprintf("### %s\n\n%s\n\n| variant | runs | answered a second, each ten seconds | last beside first ten seconds |"+
		" SYNs sent again | dropped for PAWS | resets of the endpoint | conntrack: insert_failed, drop | errors |\n"+
		"|---|---|---|---|---|---|---|---|---|\n", first.Name, first.What)
	for _, s := range r.Stalls {
		if s.Name != first.Name || len(s.Runs) == 0 {
			continue
		}
		ratio := "–"
		if q, ok := s.lastBesideFirst(); ok {
			ratio = q.Text()
		}
		text += fmt.Sprintf("| %s | %d | %s | %s | %s |\n", s.Variant, len(s.Runs), s.answered(), ratio, s.counted())
	}
	return text + "\n"
}

// answered is what was answered a second in each step: the median of the runs.
func (s *Stall) answered() string {
	var each []string
	for i := range s.Runs[0].Steps {
		var rates []float64
		for _, run := range s.Runs {
			if i < len(run.Steps) {
				rates = append(rates, float64(run.Steps[i].Answered)/run.Steps[i].Seconds)
			}
		}
		each = append(each, figures.Thousands(figures.Median(rates)))
	}
	return strings.Join(each, ", ")
}

// counted are the columns of counters, which are sums over all runs: SYNs sent again in each step, and the others.
func (s *Stall) counted() string {
	again := make([]int64, len(s.Runs[0].Steps))
	var paws, resets, insertFailed, drop int64
	knowsPAWS, knowsTracking := false, false
	errors := map[string]int64{}
	for _, run := range s.Runs {
		for i, step := range run.Steps {
			if i < len(again) {
				again[i] += step.SYNsAgain
			}
			resets += step.Resets
			if step.PAWS != nil {
				knowsPAWS = true
				paws += *step.PAWS
			}
		}
		insertFailed, drop = insertFailed+run.InsertFailed, drop+run.Drop
		knowsTracking = knowsTracking || run.Counted
		for kind, n := range run.Errors {
			errors[kind] += n
		}
	}
	dropped, tracked := "not counted by this kernel", "not counted"
	if knowsPAWS {
		dropped = fmt.Sprint(paws)
	}
	if knowsTracking {
		tracked = fmt.Sprintf("%d, %d", insertFailed, drop)
	}
	syns := strings.ReplaceAll(strings.Trim(fmt.Sprint(again), "[]"), " ", ", ")
	return strings.Join([]string{syns, dropped, fmt.Sprint(resets), tracked, errorText(errors)}, " | ")
}

func errorText(errors map[string]int64) string {
	var words []string
	for kind, n := range errors {
		words = append(words, fmt.Sprintf("%d %s", n, kind))
	}
	if len(words) == 0 {
		return "none"
	}
	slices.Sort(words)
	return strings.Join(words, ", ")
}

// ends are the first and the last ten seconds of each run: the mean of what was answered in a second.
func (s *Stall) ends() (first, last []float64) {
	for _, run := range s.Runs {
		n := min(10, len(run.EachSecond)/2)
		first = append(first, mean(run.EachSecond[:n]))
		last = append(last, mean(run.EachSecond[len(run.EachSecond)-n:]))
	}
	return first, last
}

func (s *Stall) lastBesideFirst() (figures.Ratio, bool) {
	first, last := s.ends()
	return figures.Paired(last, first)
}

// lastBeside compares the ends of long runs that took turns.
func (s *Stall) lastBeside(other *Stall) (figures.Ratio, bool) {
	if other == nil {
		return figures.Ratio{}, false
	}
	_, ours := s.ends()
	_, theirs := other.ends()
	return figures.Paired(ours, theirs)
}

func (s *Stall) synsAgain() (n int64) {
	for _, run := range s.Runs {
		for _, step := range run.Steps {
			n += step.SYNsAgain
		}
	}
	return n
}

func mean(v []float64) (sum float64) {
	for _, x := range v {
		sum += x
	}
	return sum / float64(max(len(v), 1))
}

const reproduce = `
## How to measure it again

    make bench-data                                    # in User-Mode Linux or on the machine's own kernel
    LAB_SUITE=sid make bench-data KERNEL=qemu          # on the kernel of that Debian suite, emulated
    make bench-data ROUNDS=15 TURN=4                   # narrower intervals
    LAB_CLOCK=4ns LAB_SUITE=sid make bench-data KERNEL=qemu    # the same, in instructions
    make bench-data ADD=1 ONLY='one client' STALL=120  # added to what was measured before
    make bench-data ONLY='node to node' VARIANTS='tracking,ipvs-proxier' STALL=0 ROUNDS=5
    LAB_SUITE=trixie make bench-data KERNEL=qemu PAGE=data-plane-6.12    # a page of its own

ROUNDS is how often each variant has its turn, TURN how long a turn lasts, STALL how long a long run lasts (0: none),
LONGRUNS how many there are of each variant, SERVICES how many Services the proxies have beside those asked, ONLY a
pattern of their names, VARIANTS those to measure, PAGE the page in docs that is written. The figures are also
in bin/out/PAGE.json. The variants with nftables need a kernel with nf_tables for IPv4, and nft.
`
