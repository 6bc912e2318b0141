package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/ipvs-proxier/ipvs-proxier/proxier"
)

func statusCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "status [NAMESPACE/NAME]",
		Short: "Show what this node's proxier does for each Service",
		Long: "Show, for each Service, its addresses, its scheduler, and the real servers as the kernel has them now, beside what is wanted:\n" +
			"ok, MISSING, EXTRA, DIFFERS, draining, starting. What is wrong comes first; the first line is a verdict.\n\n" +
			"Of one Service it shows each way in, each endpoint of its EndpointSlices, why one gets no new connections here, and each setting\n" +
			"with where it comes from.\n\n" +
			"Lines have room on 80 columns, or on the terminal where that is wider; -o wide has one line for each real server, with who chose the\n" +
			"scheduler. A terminal gets colours, unless NO_COLOR is set.\n\n" +
			"The exit status is 1 when something is wrong, be it a Service's own mistake, or the proxier cannot be asked; 2 is wrong use.\n" +
			"It asks the daemon on its socket, as root; where run has another --socket, say so with --socket.",
		Example: "  ipvs-proxier status\n  ipvs-proxier status --problems\n  ipvs-proxier status -n shop\n  ipvs-proxier status shop/web\n  ipvs-proxier status -o name --problems",
	}
	var w statusWish
	w.daemon.flags(c.Flags())
	c.Flags().StringVarP(&w.output, "output", "o", "table", "table, wide, name, json or yaml")
	c.Flags().StringVarP(&w.namespace, "namespace", "n", "",
		"only Services of this namespace; the argument is a NAME then")
	c.Flags().BoolVar(&w.problems, "problems", false, "only Services with which something is wrong")
	c.Flags().BoolVarP(&w.watch, "watch", "w", false, "show it again every two seconds, until it is interrupted")
	bundleFlag(c, &w.bundle)
	c.Args = func(c *cobra.Command, args []string) error {
		if w.bundle != "" {
			if err := beside(c, "socket", "server", "watch"); err != nil {
				return err
			}
		}
		return w.read(c, args)
	}
	c.RunE = func(c *cobra.Command, _ []string) error {
		if !w.watch {
			return w.show(c.Context(), screenOf(c.OutOrStdout()))
		}
		return watchStatus(c.Context(), screenOf(c.OutOrStdout()), time.NewTicker(watchPeriod).C, w.show)
	}
	return c
}

// statusWish is what status is to show.
type statusWish struct {
	daemon
	output, namespace string
	// bundle is the archive to read; "" asks the daemon.
	bundle          string
	problems, watch bool
	// service is NAMESPACE/NAME; "" is all.
	service string
}

// watchPeriod is how often status --watch asks.
const watchPeriod = 2 * time.Second

// watchStatus shows it now and at each tick, each time on a clear screen (ECMA-48), until ctx ends. What is wrong is
// part of the picture, and ends nothing.
func watchStatus(
	ctx context.Context, out screen, tick <-chan time.Time, show func(context.Context, screen) error,
) error {
	for {
		var page strings.Builder
		if err := show(ctx, screen{&page, out.width, out.colours}); err != nil {
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

// fetch asks the daemon once, or reads what it said, and returns when that was.
func (w *statusWish) fetch(ctx context.Context) (s proxier.Status, at time.Time, err error) {
	return fetched(w.bundle,
		func() (proxier.Status, error) { return proxier.FetchStatus(ctx, w.at, w.service) },
		func(b proxier.Bundle) (proxier.Status, error) { return b.Status(w.service) })
}

// show prints what the daemon says, or said.
func (w *statusWish) show(ctx context.Context, out screen) error {
	s, at, err := w.fetch(ctx)
	if err != nil {
		return err
	}
	if w.bundle != "" && w.text() {
		out.say(0, "  ", "at "+at.UTC().Format(time.RFC3339)+", by the bundle:")
	}
	found := len(s.Services) > 0
	s.Services = slices.DeleteFunc(s.Services, func(service proxier.ServiceStatus) bool { return !w.shows(service) })
	if w.service != "" && !found && w.text() { // a page of nothing says nothing
		return w.unserved(s)
	}
	if err := printStatus(out, s, w.output, w.service != "", at); err != nil {
		return err
	}
	if s.Wrong || !s.Healthy {
		return errors.New(verdict(s))
	}
	if w.service != "" && !found {
		return w.unserved(s)
	}
	return nil
}

// unserved says that the Service is not served, and why where the daemon knows.
func (w *statusWish) unserved(s proxier.Status) error {
	if s.Unserved == "" {
		return fmt.Errorf("no Service %s is served here", w.service)
	}
	return fmt.Errorf("no Service %s is served here: %s", w.service, s.Unserved)
}

// text reports whether the output is for people.
func (w *statusWish) text() bool { return w.output == "table" || w.output == "wide" }

// read checks the arguments and flags before it sends a request: wrong use must not look like a daemon that does not
// answer.
func (w *statusWish) read(c *cobra.Command, args []string) (err error) {
	if !slices.Contains(statusOutputs, w.output) {
		return unknownOutput(w.output)
	}
	if w.watch && !w.text() {
		return usageError{Err: fmt.Errorf("--watch shows a table; found --output=%s", w.output)}
	}
	if w.service, err = serviceArgument("status", args, w.namespace); err != nil {
		return err
	}
	return w.choose(c.Flags())
}

// serviceArgument returns the NAMESPACE/NAME that the arguments of a command ask for, "" where they ask for all.
func serviceArgument(command string, args []string, namespace string) (string, error) {
	switch {
	case len(args) > 1:
		return "", usageError{Err: fmt.Errorf("%s takes one NAMESPACE/NAME at most", command)}
	case len(args) == 0:
		return "", nil
	case namespace != "" && !strings.Contains(args[0], "/"):
		return namespace + "/" + args[0], nil
	case namespace != "":
		return "", usageError{Err: fmt.Errorf("%q has a namespace, and --namespace names one: want one of them", args[0])}
	case !strings.Contains(args[0], "/"):
		return "", usageError{Err: fmt.Errorf("%q is not NAMESPACE/NAME; did you mean default/%s?", args[0], args[0])}
	case strings.Count(args[0], "/") > 1:
		return "", usageError{Err: fmt.Errorf("%q is not NAMESPACE/NAME", args[0])}
	}
	return args[0], nil
}

// statusOutputs are those of printStatus.
var statusOutputs = []string{"table", "wide", "name", "json", "yaml"}

func unknownOutput(format string) error {
	return usageError{Err: fmt.Errorf("output %q is unknown; allowed are %s", format, strings.Join(statusOutputs, ", "))}
}

// shows reports whether the Service is among those asked for.
func (w *statusWish) shows(s proxier.ServiceStatus) bool {
	if w.namespace != "" && s.Namespace != w.namespace {
		return false
	}
	return s.Wrong() || !w.problems
}

// printStatus prints it; page says that it is of one Service, asked for by its name.
func printStatus(w screen, s proxier.Status, format string, page bool, now time.Time) error {
	switch format {
	case "table":
		if page && len(s.Services) == 1 {
			statusPage(w, s, now)
		} else {
			statusTree(w, s, now)
		}
		return nil
	case "wide":
		return statusTable(w, s, now)
	case "name":
		for _, service := range worstFirst(s.Services) {
			fmt.Fprintln(w, proxier.Printable(service.Namespace+"/"+service.Name))
		}
		return nil
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
