package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/ipvs-proxier/ipvs-proxier/proxier"
)

func statusCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "status [NAMESPACE/NAME]",
		Short: "Show what this node's proxier does for each Service",
		Long: "Show, for each Service, its addresses, its scheduler and who chose it, and the real servers as the kernel has them now, beside what\n" +
			"is wanted: ok, MISSING, EXTRA, DIFFERS, draining, starting. What is wrong comes first; the first line is a verdict.\n" +
			"The exit status is 1 when something is wrong, be it a Service's own mistake, or the proxier cannot be asked; 2 is wrong use.\n" +
			"It asks the daemon and needs no privileges; where --metrics-bind-address was changed, say so with --server.",
		Example: "  ipvs-proxier status\n  ipvs-proxier status --problems\n  ipvs-proxier status -n shop\n  ipvs-proxier status shop/web -o yaml",
	}
	var w statusWish
	c.Flags().StringVar(&w.server, "server", proxier.Default().MetricsBindAddress, "the daemon's --metrics-bind-address")
	c.Flags().StringVarP(&w.output, "output", "o", "table", "table, json or yaml")
	c.Flags().StringVarP(&w.namespace, "namespace", "n", "", "only Services of this namespace; the argument is a NAME then")
	c.Flags().BoolVar(&w.problems, "problems", false, "only Services with which something is wrong")
	c.Flags().BoolVarP(&w.watch, "watch", "w", false, "show it again every two seconds, until it is interrupted")
	c.Args = w.read
	c.RunE = func(c *cobra.Command, _ []string) error {
		if !w.watch {
			return w.show(c.Context(), c.OutOrStdout())
		}
		return watchStatus(c.Context(), c.OutOrStdout(), time.NewTicker(watchPeriod).C, w.show)
	}
	return c
}

// statusWish is what status is to show.
type statusWish struct {
	server, output, namespace string
	problems, watch           bool
	// service is NAMESPACE/NAME; "" is all.
	service string
}

// watchPeriod is how often status --watch asks.
const watchPeriod = 2 * time.Second

// watchStatus shows it now and at each tick, each time on a clear screen (ECMA-48), until ctx ends. What is wrong is
// part of the picture, and ends nothing.
func watchStatus(ctx context.Context, out io.Writer, tick <-chan time.Time, show func(context.Context, io.Writer) error) error {
	for {
		var page strings.Builder
		if err := show(ctx, &page); err != nil {
			fmt.Fprintf(&page, "\n%s\n", printableLines(err.Error()))
		}
		if _, err := fmt.Fprintf(out, "\x1b[H\x1b[2J%s", page.String()); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick:
		}
	}
}

// show asks the daemon once, and prints what it says.
func (w *statusWish) show(ctx context.Context, out io.Writer) error {
	s, err := proxier.FetchStatus(ctx, w.server, w.service)
	if err != nil {
		return err
	}
	found := len(s.Services) > 0
	s.Services = slices.DeleteFunc(s.Services, func(service proxier.ServiceStatus) bool { return !w.shows(service) })
	if err := printStatus(out, s, w.output, time.Now()); err != nil {
		return err
	}
	if s.Wrong || !s.Healthy {
		return errors.New(verdict(s))
	}
	if w.service != "" && !found {
		return fmt.Errorf("no Service %s is served here", w.service)
	}
	return nil
}

// read checks the arguments and flags before anybody is asked: a wrong use is none of a daemon's that does not answer.
func (w *statusWish) read(_ *cobra.Command, args []string) error {
	if !slices.Contains(statusOutputs, w.output) {
		return unknownOutput(w.output)
	}
	switch {
	case w.watch && w.output != "table":
		return usageError{fmt.Errorf("--watch shows a table; found --output=%s", w.output)}
	case len(args) > 1:
		return usageError{errors.New("status takes one NAMESPACE/NAME at most")}
	case len(args) == 1 && w.namespace != "" && !strings.Contains(args[0], "/"):
		w.service = w.namespace + "/" + args[0]
	case len(args) == 1 && w.namespace != "":
		return usageError{fmt.Errorf("%q has a namespace, and --namespace names one: want one of them", args[0])}
	case len(args) == 1 && !strings.Contains(args[0], "/"):
		return usageError{fmt.Errorf("%q is not NAMESPACE/NAME; did you mean default/%s?", args[0], args[0])}
	case len(args) == 1 && strings.Count(args[0], "/") > 1:
		return usageError{fmt.Errorf("%q is not NAMESPACE/NAME", args[0])}
	case len(args) == 1:
		w.service = args[0]
	}
	if strings.HasPrefix(w.server, "https://") {
		return usageError{fmt.Errorf("--server %q: the daemon speaks HTTP without TLS; want an address with a port, such as 127.0.0.1:10249", w.server)}
	}
	w.server = strings.TrimSuffix(strings.TrimPrefix(w.server, "http://"), "/")
	return nil
}

// statusOutputs are those of printStatus.
var statusOutputs = []string{"table", "json", "yaml"}

func unknownOutput(format string) error {
	return usageError{fmt.Errorf("output %q is unknown; allowed are %s", format, strings.Join(statusOutputs, ", "))}
}

// shows tells whether the Service is among those asked for.
func (w *statusWish) shows(s proxier.ServiceStatus) bool {
	if w.namespace != "" && s.Namespace != w.namespace {
		return false
	}
	return s.Wrong() || !w.problems
}

func printStatus(w io.Writer, s proxier.Status, format string, now time.Time) error {
	switch format {
	case "table":
		return statusTable(w, s, now)
	case "json":
		return printJSON(w, s)
	case "yaml":
		data, err := yaml.Marshal(s)
		if err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	}
	return unknownOutput(format)
}

// statusTable prints one line for each front end, with its real servers, and what is wrong below. The answer may be of
// a program that has only bound our port, so no word of it is taken for printable.
func statusTable(w io.Writer, s proxier.Status, now time.Time) error {
	printable := proxier.Printable
	fmt.Fprintf(w, "node %s: %s\n", printable(s.Node), printable(verdict(s)))
	fmt.Fprintf(w, "%d services, %d real servers drain, %d virtual servers of others\n", len(s.Services), s.Draining, s.Foreign)
	fmt.Fprintf(w, "schedulers of this kernel: %s\n", printable(strings.Join(s.Schedulers, ", ")))
	fmt.Fprintf(w, "service addresses are local by %s\n", printable(s.VIPMode))
	if s.APIViewAge != "" {
		fmt.Fprintf(w, "what is known of the API (%s) is %s old\n", printable(s.APIServer), printable(s.APIViewAge))
	}
	if s.Connections != nil {
		fmt.Fprintln(w, connectionsText(*s.Connections))
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "SERVICE\tKIND\tADDRESS\tSCHEDULER\tCHOSEN BY\tREAL SERVER\tWEIGHT\tACTIVE\tINACTIVE\tCHANGED\tSTATE")
	services := slices.Clone(s.Services)
	slices.SortStableFunc(services, func(a, b proxier.ServiceStatus) int { return worse(b.Wrong()) - worse(a.Wrong()) })
	for _, service := range services {
		name := printable(service.Namespace + "/" + service.Name)
		changed := age(now.Sub(service.Changed))
		if len(service.FrontEnds) == 0 {
			fmt.Fprintf(t, "%s\t-\t-\t-\t-\t-\t-\t-\t-\t%s\t-\n", name, changed)
		}
		for _, f := range service.FrontEnds {
			head := fmt.Sprintf("%s\t%s\t%s %s\t%s\t%s", name, printable(f.Kind), printable(f.Protocol), printable(f.Address), printable(schedulerText(f)), printable(f.Source))
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
				if r.State == "" { // of an older daemon
					r.State = map[bool]proxier.State{true: proxier.StateUnknown, false: proxier.StateDraining}[r.Wanted]
				}
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
	for _, p := range s.NodeProblems {
		fmt.Fprintf(w, "\nproblem: node %s %s: %s: %s", printable(s.Node), printable(p.Reason), printable(p.Field), printable(p.Message))
	}
	for _, service := range s.Services {
		for _, p := range service.Problems {
			fmt.Fprintf(w, "\nproblem: %s %s: %s: %s", printable(service.Namespace+"/"+service.Name), printable(p.Reason), printable(p.Field), printable(p.Message))
		}
		for _, e := range service.Errors {
			fmt.Fprintf(w, "\nerror: %s: %s", printable(service.Namespace+"/"+service.Name), printableLines(e))
		}
	}
	for _, reason := range s.Unready {
		fmt.Fprintf(w, "\nnot ready: %s", printable(reason))
	}
	for _, refusal := range s.APIRefusals {
		fmt.Fprintf(w, "\n%s; the dataplane stays as it is", printable(refusal))
	}
	if s.APIUnreachable != "" {
		fmt.Fprintf(w, "\nno API server answers %s; the dataplane stays as it is", printableLines(s.APIUnreachable))
	}
	for _, m := range s.Manifests {
		fmt.Fprintf(w, "\nmanifest: %s", printable(m))
	}
	for _, e := range s.Errors {
		fmt.Fprintf(w, "\nerror: %s", printableLines(e))
	}
	_, err := fmt.Fprintln(w)
	return err
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
	text := proxier.Printable(string(state))
	switch state {
	case proxier.StateMissing, proxier.StateExtra, proxier.StateDiffers:
		text = strings.ToUpper(text)
	}
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
