package observe

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/engine"
)

// Log writes one line for each pass that did something, and one for each Problem that is new or resolved.
type Log struct {
	log      *slog.Logger
	problems map[cluster.Name][]cluster.Problem
	// nodes are the Problems of other Nodes.
	nodes   map[string][]cluster.Problem
	errText string
	warned  string
	foreign int
	// sum adds up the passes since the last one that was logged; number is how many they are.
	sum    engine.Report
	number int
}

func NewLog(log *slog.Logger) *Log {
	return &Log{log: log, problems: map[cluster.Name][]cluster.Problem{}}
}

// Observe implements Observer.
func (l *Log) Observe(r engine.Report) {
	l.passes(r)
	l.drift(r)
	LogSysctls(l.log, r.Sysctls)
	l.errors(r)
	l.warn(r)
	if r.Audit && r.Foreign != l.foreign {
		l.foreign = r.Foreign
		l.log.Info("virtual servers of others are left alone", "count", r.Foreign)
	}
	for _, row := range r.Changed {
		l.problemsOf(row)
	}
	if r.Err == nil {
		l.problemsOf(engine.Row{Problems: r.NodeProblems})
		l.otherNodes(r.OtherNodes)
	}
}

// otherNodes logs Problems of other Nodes, in the same way as those of this one.
func (l *Log) otherNodes(rows []engine.Row) {
	now := map[string][]cluster.Problem{}
	for _, row := range rows {
		now[row.UID] = row.Problems
	}
	for name, before := range l.nodes {
		if _, still := now[name]; !still {
			logProblems(l.log, "node", name, before, nil)
		}
	}
	for name, problems := range now {
		logProblems(l.log, "node", name, l.nodes[name], problems)
	}
	l.nodes = now
}

// passes logs a pass. Passes that follow one another because one is not enough get one line at the end.
func (l *Log) passes(r engine.Report) {
	sum := &l.sum
	sum.Services += r.Services
	sum.Duration += r.Duration
	sum.Audit = sum.Audit || r.Audit
	for label, n := range r.Ops {
		if sum.Ops == nil {
			sum.Ops = map[engine.OpLabel]int{}
		}
		sum.Ops[label] += n
	}
	if l.number++; r.Backlog > 0 {
		return
	}
	level := slog.LevelDebug
	if sum.OpCount() > 0 {
		level = slog.LevelInfo
	}
	attrs := []any{"services", sum.Services, "ops", sum.OpCount(), "duration", sum.Duration.String()}
	if l.number > 1 {
		attrs = append(attrs, "passes", l.number)
	}
	if sum.Audit {
		attrs = append(attrs, "audit", true)
	}
	if r.Draining > 0 {
		attrs = append(attrs, "draining", r.Draining)
	}
	if counts := opText(sum.Ops); counts != "" {
		attrs = append(attrs, "done", counts)
	}
	l.log.Log(context.Background(), level, "pass", attrs...)
	l.sum, l.number = engine.Report{}, 0
}

// maxDrift is how many objects of those that drifted are named.
const maxDrift = 5

// drift names what an audit has repaired, each with its Service.
func (l *Log) drift(r engine.Report) {
	var named []string
	count := 0
	for o := range r.Drift() {
		if o.Contested {
			continue // which a Problem says, and not each repair
		}
		if count++; count > maxDrift {
			continue
		}
		text := o.Op.String()
		if owner := o.Owner(); owner != (cluster.Name{}) {
			text += " (service " + owner.String() + ")"
		}
		named = append(named, text)
	}
	if count == 0 {
		return
	}
	text := strings.Join(named, ", ")
	if count > maxDrift {
		text += " and " + strconv.Itoa(count-maxDrift) + " more"
	}
	l.log.Warn("drift is repaired: the kernel was not as it had been left", "count", count, "repaired",
		budget.CutLine(text))
}

// errors logs failures when they change, not at every retry.
func (l *Log) errors(r engine.Report) {
	text := ""
	if err := r.Error(); err != nil {
		text = err.Error()
	}
	switch {
	case text != "" && text != l.errText:
		l.log.Error("some operations failed; they are retried", "failed", r.FailureCount(), "err", budget.CutLine(text))
	case text == "" && l.errText != "" && r.Pending == 0:
		l.log.Info("all operations that had failed have succeeded")
	case text == "" && r.Pending > 0:
		return // what failed is not due yet
	}
	l.errText = text
}

// warn logs warnings when they are new.
func (l *Log) warn(r engine.Report) {
	text := ""
	if err := errors.Join(r.Warnings...); err != nil {
		text = err.Error()
	}
	if text != "" && text != l.warned {
		l.log.Warn("some work is left for later", "err", budget.CutLine(text))
	}
	l.warned = text
}

func (l *Log) problemsOf(row engine.Row) {
	before := l.problems[row.Name]
	of, name := "service", row.Name.String()
	if row.Name == (cluster.Name{}) {
		of, name = "node", "this one"
	}
	if slices.Equal(before, row.Problems) {
		return
	}
	logProblems(l.log, of, name, before, row.Problems)
	if len(row.Problems) == 0 {
		delete(l.problems, row.Name)
	} else {
		l.problems[row.Name] = row.Problems
	}
}

// logProblems logs Problems that are new, and those that are gone.
func logProblems(log *slog.Logger, of, name string, before, now []cluster.Problem) {
	same := func(p cluster.Problem) cluster.Problem { return p }
	for _, p := range engine.OnlyIn(now, before, same) {
		log.Warn("problem", of, name, "reason", p.Reason.Name, "field", p.Field, "message", p.Text())
	}
	for _, p := range engine.OnlyIn(before, now, same) {
		log.Info("problem is gone", of, name, "reason", p.Reason.Name, "field", p.Field)
	}
}

func opText(ops map[engine.OpLabel]int) string {
	var parts []string
	labels := slices.SortedFunc(maps.Keys(ops), func(a, b engine.OpLabel) int {
		if a.Kind != b.Kind {
			return int(a.Kind) - int(b.Kind)
		}
		return int(a.Verb) - int(b.Verb)
	})
	for _, label := range labels {
		parts = append(parts, label.Verb.String()+" "+label.Kind.String()+" "+strconv.Itoa(ops[label]))
	}
	return strings.Join(parts, ", ")
}

// LogSysctls writes a line for each kernel parameter that was changed.
func LogSysctls(log *slog.Logger, changes []dataplane.SysctlChange) {
	for _, change := range changes {
		log.Info("sysctl is changed", "name", change.Name, "old", change.Old, "new", change.New)
	}
}
