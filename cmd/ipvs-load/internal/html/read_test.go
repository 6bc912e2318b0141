package html

import (
	"bytes"
	"strings"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/account"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/report"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/report/reporttest"
)

// FuzzReport: each report that is read can be shown, as a page and as text, and nothing of it becomes a script or an
// address in the page.
func FuzzReport(f *testing.F) {
	var file bytes.Buffer
	if err := reporttest.Sample(2, func(int, *account.Outcome) {}).WriteJSON(&file); err != nil {
		f.Fatal(err)
	}
	f.Add(file.Bytes())
	f.Add([]byte(`{"schema":"` + report.Schema + `"}`))
	f.Add([]byte(`{"schema":"` + report.Schema +
		`","series":{"bucket_s":1e-300,"answered":[1],"p50_s":[null],"p99_s":[1e308]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		reports, err := report.Read(bytes.NewReader(data))
		if err != nil {
			return
		}
		var runs []Run
		for _, r := range reports {
			runs = append(runs, Run{Name: r.Settings.Mode, Report: r})
		}
		var page bytes.Buffer
		if err := Write(&page, runs...); err != nil {
			t.Fatalf("it cannot be shown: %v", err)
		}
		if strings.Contains(page.String(), "<script") {
			t.Error("there is a script in the page")
		}
		if max := 1<<20 + 1000*len(data); page.Len() > max {
			t.Errorf("%d bytes make a page of %d", len(data), page.Len())
		}
	})
}
