package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier"
)

// statusTable prints one line for each real server, with all that there is to say of it, however wide: for programs
// that read columns, and for wide screens. The answer may be of a program that has only bound our port, so no word of
// it is taken for printable.
func statusTable(w io.Writer, s proxier.Status, now time.Time) error {
	printable := proxier.Printable
	statusHead(screen{Writer: w, width: wideWidth}, s)
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "SERVICE\tKIND\tADDRESS\tSCHEDULER\tCHOSEN BY\tREAL SERVER\tWEIGHT\tACTIVE\tINACTIVE\tCHANGED\tSTATE")
	for _, service := range worstFirst(s.Services) {
		name := printable(service.Namespace + "/" + service.Name)
		changed := age(now.Sub(service.Changed))
		if len(service.FrontEnds) == 0 {
			fmt.Fprintf(t, "%s\t-\t-\t-\t-\t-\t-\t-\t-\t%s\t-\n", name, changed)
		}
		for _, f := range service.FrontEnds {
			head := fmt.Sprintf("%s\t%s\t%s %s\t%s\t%s", name, printable(f.Kind), printable(f.Protocol), printable(f.Address),
				printable(schedulerText(f)), printable(f.Source))
			tail, state := "\t"+changed, "\t"+stateText(f.State, f.Differs)
			switch {
			case f.LostTo != "":
				fmt.Fprintf(t, "%s\tlost to %s\t-\t-\t-%s\tLOST\n", head, printable(f.LostTo), tail)
			case !f.Programmed:
				fmt.Fprintf(t, "%s\t-\t-\t-\t-%s\tNOT PROGRAMMED\n", head, tail)
			case f.State == proxier.StateMissing:
				fmt.Fprintf(t, "%s\t-\t-\t-\t-%s%s\n", head, tail, state)
			case len(f.RealServers) == 0:
				fmt.Fprintf(t, "%s\tnone: refused\t-\t-\t-%s%s\n", head, tail, state)
			}
			for i, r := range f.RealServers {
				r.State = knownState(r)
				if i > 0 || f.State != proxier.StateDiffers {
					state = "\t" + stateText(r.State, r.Differs)
				} else {
					state += "; " + stateText(r.State, r.Differs)
				}
				fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d%s%s\n", head, printable(r.Address), r.Weight, r.Active, r.Inactive, tail, state)
				head, tail = "\t\t\t\t", "\t"
			}
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	statusFoot(screen{Writer: w, width: wideWidth}, s)
	return nil
}

// wideWidth is wider than any line: nothing is broken.
const wideWidth = 1 << 20

// worstFirst returns the Services, those first with which something is wrong.
func worstFirst(services []proxier.ServiceStatus) []proxier.ServiceStatus {
	sorted := slices.Clone(services)
	slices.SortStableFunc(sorted, func(a, b proxier.ServiceStatus) int { return worse(b.Wrong()) - worse(a.Wrong()) })
	return sorted
}

// statusHead prints the verdict, and what there is to say of the node.
func statusHead(s screen, status proxier.Status) {
	s.say(verdictColour(status), "  ", "node "+status.Node+": "+verdict(status))
	s.say(0, "  ", fmt.Sprintf("%d services, %d real servers drain, %d virtual servers of others",
		len(status.Services), status.Draining, status.Foreign))
	s.say(0, "  ", "schedulers of this kernel: "+strings.Join(status.Schedulers, ", "))
	s.say(0, "  ", "service addresses are local by "+status.VIPMode)
	if status.APIViewAge != "" {
		s.say(0, "  ", "what is known of the API ("+status.APIServer+") is "+status.APIViewAge+" old")
	}
	if status.Connections != nil {
		s.say(0, "  ", connectionsText(*status.Connections))
	}
	fmt.Fprintln(s)
}

func verdictColour(s proxier.Status) colour {
	if s.Wrong || !s.Healthy {
		return red
	}
	return green
}

// statusFoot prints what is wrong, in sentences.
func statusFoot(s screen, status proxier.Status) {
	fmt.Fprintln(s)
	for _, p := range status.NodeProblems {
		s.say(red, "  ", "problem: node "+status.Node+" "+p.Reason+": "+p.Field+": "+p.Message)
	}
	for _, service := range status.Services {
		name := service.Namespace + "/" + service.Name
		for _, p := range service.Problems {
			s.say(red, "  ", "problem: "+name+" "+p.Reason+": "+p.Field+": "+p.Message)
		}
		for _, e := range service.Errors {
			s.sayLines(red, "error: "+name+": "+e)
		}
	}
	for _, reason := range status.Unready {
		s.say(red, "  ", "not ready: "+reason)
	}
	for _, refusal := range status.APIRefusals {
		s.say(red, "  ", refusal+"; the dataplane stays as it is")
	}
	if status.APIUnreachable != "" {
		s.sayLines(red, "no API server answers "+status.APIUnreachable+"; the dataplane stays as it is")
	}
	for _, m := range status.Manifests {
		s.say(red, "  ", "manifest: "+m)
	}
	for _, e := range status.Errors {
		s.sayLines(red, "error: "+e)
	}
}

// verdict is that of the daemon. One of an older version gives none.
func verdict(s proxier.Status) string {
	switch {
	case s.Verdict != "":
		return s.Verdict
	case s.Healthy:
		return "healthy"
	}
	return "NOT HEALTHY"
}

func worse(wrong bool) int {
	if wrong {
		return 1
	}
	return 0
}

// stateText writes what is wrong in capitals, and says what differs.
func stateText(state proxier.State, differs string) string {
	text := proxier.Printable(stateWord(state, false))
	if differs != "" {
		text += ": " + proxier.Printable(differs)
	}
	return text
}

func connectionsText(c proxier.ConnectionsStatus) string {
	text := fmt.Sprintf("connections: %d", c.Connections)
	if c.Counted == "audit" {
		text += " at the last audit"
	}
	if c.MaxConnections != nil {
		text += fmt.Sprintf(" of at most %d", *c.MaxConnections)
	}
	switch {
	case c.Buckets < c.MaxBuckets:
		text += fmt.Sprintf(", in a table of %d buckets that grows to %d", c.Buckets, c.MaxBuckets)
	case c.Buckets > 0:
		text += fmt.Sprintf(", in a table of %d buckets", c.Buckets)
	}
	return text
}

func schedulerText(f proxier.FrontEndStatus) string {
	text := f.Scheduler
	if f.Flags != "none" {
		text += " (" + f.Flags + ")"
	}
	if f.Affinity > 0 {
		text += fmt.Sprintf(", affinity %ds", f.Affinity)
	}
	return text
}

func age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", max(0, int(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
