package benchmark

import (
	"fmt"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/figures"
)

// column of a table: its head, and the cell of a row, "–" where there is nothing.
type column struct {
	head string
	cell func(*row) string
}

// seconds and its likes write the median of a figure, and where there are several runs the least and the most behind
// it.
func seconds(of figure) func(*row) string { return cell(of, duration) }
func plain(of figure) func(*row) string {
	return cell(of, func(v float64) string { return figures.Thousands(v) })
}
func milli(of figure) func(*row) string { return cell(of, milliseconds) }

func cell(of figure, write func(float64) string) func(*row) string {
	return func(r *row) string {
		v, known := r.median(of)
		if !known {
			return "–"
		}
		text := write(v)
		if least, most := r.spread(of); len(r.values(of)) > 1 && write(least) != write(most) {
			text += fmt.Sprintf(" (%s–%s)", write(least), write(most))
		}
		return text
	}
}

// duration writes seconds with three digits that mean something.
func duration(s float64) string {
	switch {
	case s < 0:
		return "–" + duration(-s)
	case s < 0.9995:
		return fmt.Sprintf("%.0f ms", 1000*s)
	case s < 9.995:
		return fmt.Sprintf("%.2f s", s)
	case s < 99.95:
		return fmt.Sprintf("%.1f s", s)
	}
	return figures.Thousands(s) + " s"
}

func milliseconds(ms float64) string {
	switch {
	case ms < 9.995:
		return fmt.Sprintf("%.2f ms", ms)
	case ms < 99.95:
		return fmt.Sprintf("%.1f ms", ms)
	}
	return duration(ms / 1000)
}

func table(b *strings.Builder, all []*row, columns []column) {
	var head, line []string
	for _, c := range columns {
		head, line = append(head, c.head), append(line, "---")
	}
	fmt.Fprintf(b, "| %s |\n|%s|\n", strings.Join(head, " | "), strings.Join(line, "|"))
	for _, r := range all {
		var cells []string
		some := false
		for i, c := range columns {
			cells = append(cells, c.cell(r))
			some = some || i >= len(identity) && cells[i] != "–"
		}
		if some {
			fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
		}
	}
	b.WriteByte('\n')
}

// identity are the columns that say what a row is about.
var identity = []column{
	{"Services", func(r *row) string { return figures.Thousands(float64(r.services)) }},
	{"proxy", func(r *row) string { return r.name }},
}

func columns(more ...column) []column { return append(identity[:len(identity):len(identity)], more...) }

var firstColumns = columns(
	column{"last real server", seconds(lastServer)}, column{"everything in place", seconds(complete)},
	column{"own CPU", seconds(part(first, own))}, column{"children's CPU", seconds(part(first, children))},
	column{"processes", plain(part(first, processes))},
	column{"netlink requests", plain(part(first, requests))}, column{"of them write", plain(part(first, writes))},
	column{"peak memory", cell(peakRSS, func(v float64) string { return fmt.Sprintf("%.0f MiB", v) })},
)

var changeColumns = columns(
	column{"changes", plain(changes)}, column{"API write to kernel: p50", milli(changeP50)},
	column{"p99", milli(changeP99)}, column{"worst", milli(changeMax)},
	column{"in the process, p50", milli(inProcess)}, column{"p99", milli(inProcessP99)},
	column{"own CPU a change", milli(changeCPU)}, column{"children's", milli(changeChildren)},
	column{"writes a change", cell(changeWrites, func(v float64) string { return fmt.Sprintf("%.1f", v) })},
)

var restColumns = columns(
	column{"nothing changes: own CPU a minute", seconds(perMinute(own))},
	column{"children's", seconds(perMinute(children))}, column{"writes a minute", plain(perMinute(writes))},
	column{"started again: ready after", seconds(part(restart, took))}, column{"own CPU", seconds(part(restart, own))},
	column{"children's", seconds(part(restart, children))}, column{"writes", plain(part(restart, writes))},
)

func perMinute(of func(*Part) (float64, bool)) figure {
	return part(idle, func(p *Part) (float64, bool) {
		v, known := of(p)
		return v * 60 / p.Took, known && p.Took > 0
	})
}

var floorColumns = columns(
	column{"everything in place", seconds(complete)}, column{"the API's lists alone", seconds(apiList)},
	column{"as streams of events", seconds(apiEvents)}, column{"the same writes in a bare loop", seconds(floor)},
	column{"ratio", func(r *row) string { return ratioText(overFloor(r)) }},
	column{"messages in it", plain(func(x *Run) (float64, bool) { return floorMessages(x) })},
	column{"started again", seconds(part(restart, took))}, column{"a bare look", seconds(floorLook)},
)

var callColumns = columns(
	column{"system calls to program the kernel, its own", plain(netlinkCalls)},
	column{"of the programs it executed", plain(childrenCalls)}, column{"programs executed", plain(executed)},
	column{"", func(r *row) string {
		for _, x := range r.runs {
			if x.Calls != nil && x.Calls.NotCounted != "" {
				return "not counted: " + strings.ReplaceAll(x.Calls.NotCounted, "|", "/")
			}
		}
		return "–"
	}},
)

func floorMessages(r *Run) (float64, bool) {
	if r.Floor == nil {
		return 0, false
	}
	return float64(r.Floor.Messages), true
}

// overFloor is how many times the floor the proxy needs beyond what the API's lists take.
func overFloor(r *row) (float64, bool) {
	whole, told1 := r.median(complete)
	list, told2 := r.median(apiList)
	least, told3 := r.median(floor)
	if r == nil || !told1 || !told3 || !told2 && r.source == "API" {
		return 0, false
	}
	return (whole - list) / least, true
}

func ratioText(v float64, known bool) string {
	switch {
	case !known:
		return "–"
	case v < 9.95:
		return fmt.Sprintf("%.1f", v)
	}
	return figures.Thousands(v)
}
