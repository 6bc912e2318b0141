package benchmark

import (
	"fmt"
	"strings"
)

// Line returns the run in one line, for the log.
func (r *Run) Line() string {
	words := []string{fmt.Sprintf("%s, %d Services:", r.Name(), r.Services)}
	add := func(format string, of figure) {
		if v, known := of(r); known {
			words = append(words, fmt.Sprintf(format, v))
		}
	}
	add("last real server %.2f s,", lastServer)
	add("complete %.2f s,", complete)
	add("own CPU %.2f s,", part(first, own))
	add("children's %.2f s,", part(first, children))
	add("%.0f processes,", part(first, processes))
	add("%.0f netlink requests,", part(first, requests))
	add("%.0f of them write;", part(first, writes))
	add("%.0f changes", changes)
	add("p50 %.1f ms,", changeP50)
	add("p99 %.1f ms,", changeP99)
	add("in the process %.2f ms,", inProcess)
	add("own CPU %.2f ms each;", changeCPU)
	add("idle %.2f CPU s", part(idle, own))
	add("and %.2f of children;", part(idle, children))
	add("restart %.2f s,", part(restart, took))
	add("%.0f writes;", part(restart, writes))
	add("peak %.0f MiB;", peakRSS)
	add("floor %.3f s,", floor)
	add("bare look %.3f s,", floorLook)
	add("API list %.2f s,", apiList)
	add("as events %.2f s;", apiEvents)
	add("%.0f system calls of its own to program the kernel,", netlinkCalls)
	add("%.0f of its children,", childrenCalls)
	add("%.0f programs executed", executed)
	if r.Calls != nil && r.Calls.NotCounted != "" {
		words = append(words, "system calls not counted: "+r.Calls.NotCounted)
	}
	if r.Failure != "" {
		words = append(words, "FAILED: "+r.Failure)
	}
	return strings.Join(words, " ")
}
