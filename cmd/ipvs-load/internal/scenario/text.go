package scenario

import (
	"fmt"
	"io"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/report"
)

// WriteText writes every run, and how the variants stand to each other, for a person.
func (r *Result) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "scenario %s", r.Name)
	if r.Description != "" {
		fmt.Fprintf(&b, ": %s", strings.TrimSpace(r.Description))
	}
	b.WriteString("\n")
	if r.Interrupted {
		b.WriteString("INTERRUPTED: what follows is what there was\n")
	}
	for _, v := range r.Variants {
		for i, p := range v.Rounds {
			fmt.Fprintf(&b, "\n== %s, round %d of %d\n", v.Name, i+1, len(v.Rounds))
			if err := p.WriteText(&b); err != nil {
				return err
			}
		}
	}
	if r.Comparison != nil {
		b.WriteString("\n")
		if err := r.Comparison.WriteText(&b); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// ExitStatus is that of the worst run, or that of a variant that is slower than the first.
func (r *Result) ExitStatus() int {
	worst, runs := report.ExitFine, 0
	for _, v := range r.Variants {
		for _, p := range v.Rounds {
			worst, runs = max(worst, p.ExitStatus()), runs+1
		}
	}
	switch {
	case runs == 0:
		return report.ExitUnreachable
	case worst == report.ExitFine && r.Comparison != nil && r.Comparison.Worse():
		return report.ExitErrors
	}
	return worst
}
