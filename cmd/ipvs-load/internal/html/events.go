package html

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/account"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/report"
)

func eventTable(events []report.Event) table {
	t := table{Title: "Events, and what the requests met until the next one",
		Columns: []column{numberColumn("#"), numberColumn("at"),
			numberColumn("took"), textColumn("event"), numberColumn("answered"), textColumn("errors"), numberColumn("p50"),
			numberColumn("p99"), textColumn("its endpoint")}}
	for i, e := range events {
		t.Rows = append(t.Rows, []string{fmt.Sprint(i + 1), seconds(e.At), duration((e.Ended - e.At) * 1e6), e.Name,
			count(e.Answered), eventErrors(e), duration(e.P50), duration(e.P99), endpointAnswers(e)})
	}
	return t
}

func eventErrors(e report.Event) string {
	var parts []string
	for _, k := range byKind(e.Errors) {
		if n := e.Errors[k]; n > 0 {
			parts = append(parts, count(n)+" "+k)
		}
	}
	return cmp.Or(strings.Join(parts, ", "), "none")
}

// endpointAnswers says when the event's endpoint answered, in time since the event.
func endpointAnswers(e report.Event) string {
	since := func(at *float64) string { return duration((*at-e.At)*1e6) + " after" }
	switch {
	case e.Endpoint == "":
		return "–"
	case e.FirstAnswer == nil || e.LastRequest == nil:
		return e.Endpoint + ": no answer to a request started after"
	case e.Kind == "removed", e.Kind == "drained", e.Kind == "not-ready":
		return e.Endpoint + ": last request that it answered " + since(e.LastRequest)
	}
	return e.Endpoint + ": first answer " + since(e.FirstAnswer)
}

func eventTitle(e report.Event) string {
	return fmt.Sprintf("%s: %s; errors until the next event: %s", seconds(e.At), e.Name, eventErrors(e))
}

// byKind returns the kinds of errors in the order of reports. Those that this version does not know come last.
func byKind[V any](errors map[string]V) []string {
	known := account.Errors()
	order := func(name string) int {
		i := slices.IndexFunc(known, func(k account.Kind) bool { return k.String() == name })
		if i < 0 {
			return len(known)
		}
		return i
	}
	return slices.SortedFunc(maps.Keys(errors),
		func(a, b string) int { return cmp.Or(cmp.Compare(order(a), order(b)), cmp.Compare(a, b)) })
}

// kindClass gives a kind the same colour in every plot. Those that this version does not know share one with the last.
func kindClass(name string) string {
	kinds := account.Errors()
	i := slices.IndexFunc(kinds, func(k account.Kind) bool { return k.String() == name })
	if i < 0 {
		i = len(kinds) - 1
	}
	return fmt.Sprintf("k%d", i)
}
