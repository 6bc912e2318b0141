package benchmark

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/figures"
)

// buildFigures are what builds of ipvs-proxier are compared by.
var buildFigures = []struct {
	name  string
	of    figure
	write func(float64) string
}{
	{"peak memory", peakRSS, kibibytes},
	{"memory when nothing had changed for a while", memory(idle, func(p *Part) int64 { return p.RSS }), kibibytes},
	{"peak memory of a start with nothing changed", memory(restart, func(p *Part) int64 { return p.PeakRSS }), kibibytes},
	{"processor time of the first programming", part(first, own), duration},
	{"processor time of a start with nothing changed", part(restart, own), duration},
	{"processor time of a change", changeCPU, milliseconds},
	{"time to the first programming", complete, duration},
	{"time of a start with nothing changed", part(restart, took), duration},
	{"time of a change, p50", changeP50, milliseconds},
}

// kibibytes writes mebibytes as the kernel counts them.
func kibibytes(mebibytes float64) string { return figures.Thousands(1024*mebibytes) + " KiB" }

// memory is mebibytes.
func memory(which func(*Control) *Part, of func(*Part) int64) figure {
	return part(which, func(p *Part) (float64, bool) { return float64(of(p)) / (1 << 20), of(p) > 0 })
}

// Builds is the text that compares this build of ipvs-proxier with others, which took turns with it.
func (p *Page) Builds() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Measured on %s by `%s`. Services have %d endpoints each. Builds take turns: the median, and the least and the most\n"+
		"in brackets. A ratio has the interval that holds it in 95 of 100 resamplings of its rounds.\n", p.machine(), p.Command, p.Endpoints)
	all := rows(p.Runs)
	for _, base := range all {
		if base.runs[0].Build == "" {
			continue
		}
		at := slices.IndexFunc(all, func(r *row) bool {
			return r.services == base.services && r.source == base.source && r.proxy == base.proxy && r.runs[0].Build == ""
		})
		if at < 0 {
			continue
		}
		fmt.Fprintf(&b, "\n%s Services from %s:\n\n| | %s | this build | ratio | rounds |\n|---|---|---|---|---|\n",
			figures.Thousands(float64(base.services)), base.source, base.runs[0].Build)
		for _, f := range buildFigures {
			this, other := ofBothBuilds(all[at], base, f.of)
			if len(this) > 0 {
				text := "–"
				if ratio, known := figures.Paired(this, other); known {
					text = ratio.Text()
				}
				write := func(v []float64) string {
					return fmt.Sprintf("%s (%s–%s)", f.write(figures.Median(v)), f.write(slices.Min(v)), f.write(slices.Max(v)))
				}
				fmt.Fprintf(&b, "| %s | %s | %s | %s | %d |\n", f.name, write(other), write(this), text, len(this))
			}
		}
	}
	b.WriteByte('\n')
	p.failures(&b)
	return b.String()
}

// ofBothBuilds are the values of rounds in which both have one, in the same order.
func ofBothBuilds(a, b *row, of figure) (x, y []float64) {
	for i := range a.runs {
		j := slices.IndexFunc(b.runs, func(r Run) bool { return r.Round == a.runs[i].Round })
		if j < 0 {
			continue
		}
		v, told1 := of(&a.runs[i])
		w, told2 := of(&b.runs[j])
		if told1 && told2 {
			x, y = append(x, v), append(y, w)
		}
	}
	return x, y
}
