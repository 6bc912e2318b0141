package benchmark

import (
	"fmt"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/figures"
)

// goal is one of the project's, with how it is read from the rows.
type goal struct {
	what, want string
	// value returns the result in words, and whether it reaches the goal; known is false when it was not measured.
	value func(all []*row, p *Page) (text string, reached, known bool)
}

// atLeast compares a ratio of two figures with what is wanted of it.
func atLeast(all []*row, over, under func([]*row) (float64, bool), want float64, words string) (string, bool, bool) {
	a, told1 := over(all)
	b, told2 := under(all)
	if !told1 || !told2 || b == 0 {
		return "", false, false
	}
	return fmt.Sprintf(words, ratioText(a/b, true)), a/b >= want, true
}

func atMost(v float64, known bool, want float64, write func(float64) string) (string, bool, bool) {
	if !known {
		return "", false, false
	}
	return write(v), v <= want, true
}

func of(proxy string, services int, f figure) func([]*row) (float64, bool) {
	return func(all []*row) (float64, bool) {
		r := find(all, proxy, services)
		if r == nil {
			return 0, false
		}
		return r.median(f)
	}
}

func ratio(a, b func([]*row) (float64, bool)) func([]*row) (float64, bool) {
	return func(all []*row) (float64, bool) {
		x, told1 := a(all)
		y, told2 := b(all)
		return x / y, told1 && told2 && y > 0
	}
}

func times(v float64) string { return ratioText(v, true) + " times" }

var goals = []goal{
	{"first full programming, 1,000 × 5, process start to last set, rule and real server",
		"200 times faster than kube-proxy ipvs in User-Mode Linux, 20 times in QEMU",
		func(all []*row, p *Page) (string, bool, bool) {
			want := 20.0
			if strings.Contains(p.Guest, "User-Mode") {
				want = 200
			}
			return atLeast(all, of(KubeProxy, 1000, complete), of(Ours, 1000, complete), want, "%s times faster")
		}},
	{"its own CPU (children apart)", "a thirtieth of kube-proxy's", func(all []*row, _ *Page) (string, bool, bool) {
		return atLeast(all, of(KubeProxy, 1000, part(first, own)), of(Ours, 1000, part(first, own)), 30,
			"kube-proxy's is %s times as much")
	}},
	{"processes started for it", "fewer than 30", func(all []*row, _ *Page) (string, bool, bool) {
		if v, known := of(Ours, 1000, executed)(all); known {
			return fmt.Sprintf("%.0f programs executed", v), v < 30, true
		}
		v, known := of(Ours, 1000, part(first, processes))(all)
		return fmt.Sprintf("%.0f on the machine", v), v < 30, known
	}},
	{"first full programming, 10,000 × 5, beyond the API's lists", "1.5 times the batched bare loop",
		func(all []*row, _ *Page) (string, bool, bool) {
			v, known := overFloor(find(all, Ours, 10_000))
			return atMost(v, known, 1.5, times)
		}},
	{"system calls for it", "2,000 beyond what client-go makes", func(all []*row, _ *Page) (string, bool, bool) {
		mine, told1 := of(Ours, 10_000, netlinkCalls)(all)
		theirs, told2 := of(Ours, 10_000, childrenCalls)(all)
		return fmt.Sprintf("%s, %s of them by the programs it executed",
			figures.Thousands(mine+theirs), figures.Thousands(theirs)), mine+theirs <= 2000, told1 && told2
	}},
	{"one endpoint change at 10,000 × 5, API write to kernel, p99",
		"50 times faster than kube-proxy's median at 1,000 × 5", func(all []*row, _ *Page) (string, bool, bool) {
			return atLeast(all, of(KubeProxy, 1000, changeP50), of(Ours, 10_000, changeP99), 50, "%s times faster")
		}},
	{"the same p99 beside ours at 100 × 5", "1.2 times", func(all []*row, _ *Page) (string, bool, bool) {
		v, known := ratio(of(Ours, 10_000, changeP99), of(Ours, 100, changeP99))(all)
		return atMost(v, known, 1.2, times)
	}},
	{"in-process part of it (watch event to kernel), p50", "below 1 ms", func(all []*row, _ *Page) (string, bool, bool) {
		v, known := of(Ours, 10_000, inProcess)(all)
		return atMost(v, known, 1, milliseconds)
	}},
	{"own CPU per endpoint change at 1,000 × 5", "a twentieth of kube-proxy's",
		func(all []*row, _ *Page) (string, bool, bool) {
			return atLeast(all, of(KubeProxy, 1000, changeCPU), of(Ours, 1000, changeCPU), 20,
				"kube-proxy's is %s times as much")
		}},
	{"ours at 10,000 × 5 beside ours at 1,000 × 5", "1.2 times", func(all []*row, _ *Page) (string, bool, bool) {
		v, known := ratio(of(Ours, 10_000, changeCPU), of(Ours, 1000, changeCPU))(all)
		return atMost(v, known, 1.2, times)
	}},
	{"peak memory at 10,000 × 5", "60 MiB", func(all []*row, _ *Page) (string, bool, bool) {
		v, known := of(Ours, 10_000, peakRSS)(all)
		return atMost(v, known, 60, func(v float64) string { return fmt.Sprintf("%.0f MiB", v) })
	}},
	{"restart with nothing changed at 10,000 × 5: netlink messages that write", "none",
		func(all []*row, _ *Page) (string, bool, bool) {
			v, known := of(Ours, 10_000, part(restart, writes))(all)
			return atMost(v, known, 0, figures.Thousands)
		}},
	{"its time", "2 times the bare dumps, beyond the API's lists", func(all []*row, _ *Page) (string, bool, bool) {
		again, told1 := of(Ours, 10_000, part(restart, took))(all)
		list, told2 := of(Ours, 10_000, apiList)(all)
		look, told3 := of(Ours, 10_000, floorLook)(all)
		if !told1 || !told2 || !told3 {
			return "", false, false
		}
		// The kernel is read while the lists are on their way, so that the lists may be all that is seen of it.
		return fmt.Sprintf("%s, the lists alone %s, a bare look %s",
			duration(again), duration(list), duration(look)), again-list <= 2*look, true
	}},
	{"idle: netlink messages that write", "none", func(all []*row, _ *Page) (string, bool, bool) {
		v, known := of(Ours, 10_000, perMinute(writes))(all)
		return atMost(v, known, 0, func(v float64) string { return figures.Thousands(v) + " a minute" })
	}},
	{"idle at 10,000 × 5, audits and the programs for them included", "1 % of a core",
		func(all []*row, _ *Page) (string, bool, bool) {
			v, told1 := of(Ours, 10_000, perMinute(own))(all)
			w, told2 := of(Ours, 10_000, perMinute(children))(all)
			return atMost(100*(v+w)/60, told1 && told2, 1, func(v float64) string { return fmt.Sprintf("%.1f %%", v) })
		}},
}

// reached is the table of goals. What was not measured in this guest is said so.
func reached(b *strings.Builder, all []*row, p *Page) {
	b.WriteString("| what | at least | here | |\n|---|---|---|---|\n")
	for _, g := range goals {
		text, good, known := g.value(all, p)
		verdict := "**not reached**"
		switch {
		case !known:
			text, verdict = "not measured here", ""
		case good:
			verdict = "reached"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", g.what, g.want, text, verdict)
	}
	b.WriteByte('\n')
}
