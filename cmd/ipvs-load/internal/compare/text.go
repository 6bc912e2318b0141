package compare

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/report"
)

// WriteText writes the comparison for a person.
func (c *Comparison) WriteText(w io.Writer) error {
	var b strings.Builder
	for _, v := range c.Others {
		how := fmt.Sprintf("%d and %d rounds", v.Rounds[0], v.Rounds[1])
		if v.ByBlocks {
			how += fmt.Sprintf(", fewer than %d, so blocks of time within them", minRounds)
		}
		fmt.Fprintf(&b, "%s against %s (%s): %s\n\n", v.Name, c.Base, how, strings.ToUpper(v.Verdict))
		t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		fmt.Fprintf(t, "\t%s\t%s\tchange\t95 %% interval\tp\tverdict\n", c.Base, v.Name)
		for _, m := range v.Metrics {
			verdict := m.Verdict
			if m.Why != "" {
				verdict += ": " + m.Why
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s to %s\t%.3g\t%s\n", m.Name, value(m.Base, m.Unit), value(m.Value, m.Unit),
				change(m.Ratio), change(m.Low), change(m.High), m.P, verdict)
		}
		fmt.Fprintf(t, "errors\t%.3f %%\t%.3f %%\t\t\t%.3g\t%s\n",
			100*v.Errors.Base, 100*v.Errors.Value, v.Errors.P, errorVerdict(v.Errors.Verdict))
		t.Flush()
		if v.Clients.Both > 1 {
			fmt.Fprintf(&b, "\n%d of %d clients whose endpoint is still there moved to another (%.2f %%)\n",
				v.Clients.Moved, v.Clients.Both, 100*v.Clients.Share)
		}
		for _, warning := range v.Warnings {
			fmt.Fprintf(&b, "WARNING: %s\n", warning)
		}
		b.WriteString("\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func errorVerdict(v string) string {
	return map[string]string{Slower: "more errors", Faster: "fewer errors", NoDifference: NoDifference}[v]
}

func change(ratio float64) string { return fmt.Sprintf("%+.1f %%", 100*(ratio-1)) }

func value(v float64, unit string) string {
	switch unit {
	case "us":
		return report.Duration(v)
	case "bit/s":
		return report.BitRate(v)
	}
	return fmt.Sprintf("%.1f%s", v, unit)
}

// WriteJSON writes the comparison as one indented JSON object and a newline.
func (c *Comparison) WriteJSON(w io.Writer) error {
	return report.WriteObject(w, c)
}
