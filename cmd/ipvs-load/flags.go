package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/report"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/spec"
)

// weights is a flag's value: web-1=3,web-2=1.
type weights map[string]float64

func (w *weights) Set(s string) error {
	if *w == nil {
		*w = weights{}
	}
	for part := range strings.SplitSeq(s, ",") {
		id, text, found := strings.Cut(part, "=")
		v, err := strconv.ParseFloat(text, 64)
		if !found || err != nil {
			return fmt.Errorf("%q is not ENDPOINT=WEIGHT, such as web-1=3", part)
		}
		(*w)[id] = v
	}
	return nil
}

func (w *weights) Type() string { return "ENDPOINT=WEIGHT,..." }

func (w *weights) String() string {
	var all []string
	for _, id := range slices.Sorted(maps.Keys(*w)) {
		all = append(all, fmt.Sprintf("%s=%v", id, (*w)[id]))
	}
	return strings.Join(all, ",")
}

// eventFlag is a flag's value: "TIME [KIND [ENDPOINT]] [COMMAND]", where an endpoint goes with the kinds that are about
// one.
type eventFlag []spec.Event

// aboutEndpoint are the kinds of events that name an endpoint.
var aboutEndpoint = []string{"added", "removed", "drained", "ready", "not-ready"}

func (e *eventFlag) Set(s string) error {
	next := func() (word string) {
		word, s, _ = strings.Cut(strings.TrimSpace(s), " ")
		return word
	}
	first := next()
	at, err := time.ParseDuration(first)
	if err != nil {
		return fmt.Errorf("%q is not a time after the beginning of the window, such as 10s; an event is \"TIME [KIND [ENDPOINT]] [COMMAND]\"", first)
	}
	event := spec.Event{At: spec.Duration(at)}
	if kind, _, _ := strings.Cut(strings.TrimSpace(s), " "); slices.Contains(report.EventKinds, kind) {
		event.Kind = next()
	}
	if slices.Contains(aboutEndpoint, event.Kind) {
		if event.Endpoint = next(); event.Endpoint == "" {
			return fmt.Errorf("an event of kind %s names an endpoint: \"%s %s ENDPOINT [COMMAND]\"",
				event.Kind, first, event.Kind)
		}
	}
	event.Command = strings.TrimSpace(s)
	if event.Name = strings.TrimSpace(event.Kind + " " + event.Endpoint); event.Name == "" {
		event.Name = event.Command
	}
	if event.Name == "" {
		return fmt.Errorf("the event at %v says neither a kind nor a command", at)
	}
	*e = append(*e, event)
	return nil
}

func (e *eventFlag) Type() string { return "'TIME [KIND [ENDPOINT]] [COMMAND]'" }

func (e *eventFlag) String() string {
	var all []string
	for _, x := range *e {
		all = append(all, fmt.Sprintf("%v %s %s", x.At, x.Name, x.Command))
	}
	return strings.Join(all, "; ")
}
