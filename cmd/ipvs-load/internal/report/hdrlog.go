package report

import (
	"fmt"
	"io"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/account"
)

// WriteHdrLog writes the distributions of a run, all workers together, as an HdrHistogram interval log (format V2,
// values in nanoseconds), which the tools of that family read. Each distribution is one interval from the beginning of
// the window to the end of the run. Its tag says which it is: latency, answered_latency, service, connect, start_lag,
// wake_late.
func WriteHdrLog(w io.Writer, r *account.Result) error {
	from := r.Began.Add(r.Window.From)
	log := account.NewLog(w, from)
	t := r.Tally
	for _, d := range []struct {
		tag  string
		from *account.Distribution
	}{
		{"latency", t.Latency}, {"answered_latency", t.AnsweredLatency}, {"service", t.Service}, {"connect", t.Connect},
		{"start_lag", t.StartLag}, {"wake_late", r.Self.Wake},
	} {
		length := max(r.Window.To-r.Window.From, t.Series.Length(), time.Millisecond)
		if err := log.Write(d.tag, d.from, from, from.Add(length)); err != nil {
			return fmt.Errorf("write the HdrHistogram log: %w", err)
		}
	}
	return nil
}
