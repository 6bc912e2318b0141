package html

import (
	"fmt"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/report"
)

// eventRows is where the names of events are written, so that they do not cover one another.
type eventRows struct {
	row   []int // of each event; -1 where there is no room for a name
	count int
}

// maxEventRows bounds what the names take; the table beside the plot has all of them.
const maxEventRows = 5

func (t *timePlot) placeEvents() eventRows {
	r := eventRows{row: make([]int, len(t.report.Events))}
	var ends []px
	for i, e := range t.report.Events {
		from, to := t.nameSpan(i, e)
		r.row[i] = -1
		for row := range maxEventRows {
			if row == len(ends) {
				ends = append(ends, -1)
			}
			if ends[row] < from {
				r.row[i], ends[row] = row, to+10
				break
			}
		}
	}
	r.count = len(ends)
	return r
}

func (t *timePlot) eventName(i int, e report.Event) string {
	letters := 34
	if t.Width == narrow {
		letters = 18
	}
	return shorten(fmt.Sprintf("%d %s", i+1, e.Name), letters)
}

// nameSpan is from where to where the name of an event reaches: to the right of its line or, near the edge, to the
// left.
func (t *timePlot) nameSpan(i int, e report.Event) (from, to px) {
	at, width := t.x(e.At), textWidth(t.eventName(i, e))
	if at+width > t.Width {
		return at - width, at
	}
	return at, at + width
}

func (t *timePlot) eventLines(rows eventRows, bottom px) {
	for i, e := range t.report.Events {
		top := px(rows.count)
		if rows.row[i] >= 0 {
			top = px(rows.row[i])
		}
		t.line("event", t.x(e.At), top*16+2, t.x(e.At), bottom)
	}
}

func (t *timePlot) eventNames(rows eventRows) {
	for i, e := range t.report.Events {
		if rows.row[i] < 0 {
			continue
		}
		class, x := "event-name", t.x(e.At)+3
		if from, _ := t.nameSpan(i, e); from < t.x(e.At) {
			class, x = "event-name end", t.x(e.At)-3
		}
		t.named(class, x, px(rows.row[i]*16+12), t.eventName(i, e), eventTitle(e))
	}
}
