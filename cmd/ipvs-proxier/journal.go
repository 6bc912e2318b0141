package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/ipvs-proxier/ipvs-proxier/proxier"
)

func journalCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "journal [NAMESPACE/NAME]",
		Short: "Show the last changes that this node's proxier has made in the kernel, and why",
		Long: "Show what the last syncs have changed, the newest last: of each Service the time, the cause (start, drift, retry, timer, change or operator), how\n" +
			"long it took by stages, the result, and the first operations. drift is what somebody else had changed, and is undone.\n\n" +
			"WAITED is from the arrival of the change to its sync, COMPILED and KERNEL are those of the whole sync, in milliseconds.\n\n" +
			"The daemon keeps the last 500 entries in memory, and in --state-dir over restarts; a line separates what was before the last start.\n" +
			"When the daemon is dead, what it has kept is shown. The exit status is 1 when neither can be had.",
		Example: "  ipvs-proxier journal\n  ipvs-proxier journal shop/web\n  ipvs-proxier journal --cause drift --since 1h\n  ipvs-proxier journal -o json",
	}
	var w journalWish
	var output string
	w.daemon.flags(c.Flags())
	c.Flags().StringVar(&w.stateDir, "state-dir", proxier.Default().StateDir,
		"the daemon's --state-dir, to be read when nobody answers on the socket; empty reads none")
	c.Flags().StringVarP(&w.namespace, "namespace", "n", "",
		"only Services of this namespace; the argument is a NAME then")
	c.Flags().StringVar(&w.cause, "cause", "",
		"only what came by this cause: start, drift, retry, timer, change or operator")
	c.Flags().BoolVar(&w.failed, "failed", false, "only what did not succeed")
	c.Flags().DurationVar(&w.since, "since", 0, "only what is not older than this; 0 is all")
	c.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	bundleFlag(c, &w.bundle)
	c.Args = func(c *cobra.Command, args []string) (err error) {
		if w.bundle != "" {
			if err := beside(c, "socket", "server", "state-dir"); err != nil {
				return err
			}
		}
		if err := tableOrJSON(output); err != nil {
			return err
		}
		if w.cause != "" && !slices.Contains(causes, w.cause) {
			return usageError{Err: fmt.Errorf(
				"--cause %q is unknown; allowed are start, drift, retry, timer, change, operator", w.cause,
			)}
		}
		if w.since < 0 {
			return usageError{Err: fmt.Errorf("--since %s is out of range; want 0 or more", w.since)}
		}
		if w.service, err = serviceArgument("journal", args, w.namespace); err != nil {
			return err
		}
		return w.choose(c.Flags())
	}
	c.RunE = func(c *cobra.Command, _ []string) error {
		j, at, err := w.fetch(c.Context(), c.ErrOrStderr())
		if err != nil {
			return err
		}
		j.Entries = slices.DeleteFunc(j.Entries, func(e proxier.JournalEntry) bool { return !w.shows(e, at) })
		if output == "json" {
			return printJSON(c.OutOrStdout(), j)
		}
		journalTable(screenOf(c.OutOrStdout()), j)
		return nil
	}
	must(c.RegisterFlagCompletionFunc("cause", cobra.FixedCompletions(causes, cobra.ShellCompDirectiveNoFileComp)))
	return c
}

// causes are those of operations, and of what an operator has done.
var causes = []string{"start", "drift", "retry", "timer", "change", "operator"}

// journalWish is what journal is to show.
type journalWish struct {
	daemon
	namespace, service, cause, bundle, stateDir string
	failed                                      bool
	since                                       time.Duration
}

// fetch asks the daemon, or reads the bundle, and returns when that was.
func (w journalWish) fetch(ctx context.Context, notes io.Writer) (j proxier.Journal, at time.Time, err error) {
	return fetched(w.bundle, func() (proxier.Journal, error) { return w.ask(ctx, notes) },
		func(b proxier.Bundle) (proxier.Journal, error) { return b.Journal(w.service) })
}

// ask asks the daemon. What a dead one has kept is better than nothing.
func (w journalWish) ask(ctx context.Context, notes io.Writer) (proxier.Journal, error) {
	j, err := proxier.FetchJournal(ctx, w.at, w.service)
	if err == nil || w.at != w.socket || w.stateDir == "" {
		return j, err
	}
	kept, unread := proxier.ReadKeptJournal(w.stateDir, w.service)
	if unread != nil && len(kept.Entries) == 0 {
		return j, errors.Join(err, unread)
	}
	if unread != nil {
		fmt.Fprintf(notes, "ipvs-proxier: %s\n", printableLines(unread.Error()))
	}
	fmt.Fprintf(notes, "ipvs-proxier: %s\nThis is what it has kept in %s.\n", printableLines(err.Error()), w.stateDir)
	return kept, nil
}

func (w journalWish) shows(e proxier.JournalEntry, now time.Time) bool {
	return (w.namespace == "" || e.Namespace == w.namespace) && (w.cause == "" || e.Cause == w.cause) &&
		(!w.failed || e.Failed > 0) &&
		(w.since == 0 || now.Sub(e.Time) <= w.since)
}

// journalTable prints a line for each entry, with its operations below.
func journalTable(s screen, j proxier.Journal) {
	if j.Forgotten > 0 {
		s.say(0, "  ", fmt.Sprintf("%d older entries are forgotten", j.Forgotten))
	}
	if j.Unkept != "" {
		s.say(yellow, "  ", "not kept over a restart: "+j.Unkept)
	}
	if len(j.Entries) == 0 {
		s.say(0, "", "nothing that was asked for is in the journal")
		return
	}
	g := &grid{}
	g.add(row{cells: []string{"OF", "TIME (UTC)", "CAUSE", "WAITED", "COMPILED", "KERNEL"}, state: "RESULT"})
	for i, e := range j.Entries {
		g.add(journalRow(e))
		if e.BeforeRestart && (i+1 == len(j.Entries) || !j.Entries[i+1].BeforeRestart) {
			g.add(row{cells: []string{"--- all above was before the last start ---", "", "", "", "", ""}, span: true})
		}
	}
	g.write(s)
}

func journalRow(e proxier.JournalEntry) row {
	r := row{
		cells: []string{
			journalOwner(e), e.Time.UTC().Format("01-02 15:04:05.000"), e.Cause,
			milliseconds(e.QueueSeconds), milliseconds(e.CompileSeconds), milliseconds(e.KernelSeconds),
		},
		state: fmt.Sprintf("%d done", e.Count), colour: green,
	}
	if e.TotalSeconds == 0 { // no change was waiting
		r.cells[3] = "-"
	}
	switch {
	case e.Note != "":
		r.state, r.colour, r.cells[4], r.cells[5] = "noted", yellow, "-", "-"
		r.notes = append(r.notes, e.Note)
	case e.Failed > 0:
		r.state, r.colour = fmt.Sprintf("%d OF %d FAILED", e.Failed, e.Count), red
	case e.Cause == "drift":
		r.colour = yellow
	}
	for _, o := range e.Operations {
		text := o.String()
		if o.Error != "" {
			text += ": " + o.Error
		}
		r.notes = append(r.notes, text)
	}
	if more := e.Count - len(e.Operations); more > 0 && len(e.Operations) > 0 {
		r.notes = append(r.notes, fmt.Sprintf("and %d more", more))
	}
	return r
}

// journalOwner says whose the operations are.
func journalOwner(e proxier.JournalEntry) string {
	switch {
	case e.Name != "":
		return e.Namespace + "/" + e.Name
	case e.Services == 0:
		return "the node"
	}
	return strconv.Itoa(e.Services) + " Services"
}

// milliseconds prints a time in them.
func milliseconds(seconds float64) string {
	return strconv.FormatFloat(seconds*1000, 'f', 1, 64) + "ms"
}
