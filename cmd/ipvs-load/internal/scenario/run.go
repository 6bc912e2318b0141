package scenario

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/churn"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/compare"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/report"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/spec"
)

// Runner carries out one load.
type Runner func(ctx context.Context, l spec.Load) (*report.Report, error)

// Run runs the scenario and logs each run as it ends. When the context ends, it returns the result so far. Teardown and
// After run whatever happened before.
func (s *Scenario) Run(ctx context.Context, version string, run Runner, log io.Writer) (result *Result, err error) {
	result = &Result{Schema: Schema, Version: version, Name: s.Name, Description: s.Description, Source: s.source}
	for _, v := range s.Variants {
		result.Variants = append(result.Variants, VariantResult{Name: v.Name, Rounds: []*report.Report{}})
	}
	defer s.finish(&err, "teardown", s.Teardown, log)
	if err := s.command(ctx, "setup", s.Setup, log); err != nil {
		return result, err
	}
	order := make([]int, len(s.Variants))
	for i := range order {
		order[i] = i
	}
	for round := range s.Repetitions {
		for _, i := range order {
			if round > 0 || i != order[0] {
				churn.Wait(ctx, time.Duration(s.Pause))
			}
			if ctx.Err() != nil {
				result.Interrupted = true
				return result, s.compare(result)
			}
			p, err := s.one(ctx, &s.Variants[i], run, log)
			if err != nil {
				return result, fmt.Errorf("round %d of %s: %w", round+1, s.Variants[i].Name, err)
			}
			result.Variants[i].Rounds = append(result.Variants[i].Rounds, p)
			result.Interrupted = p.Interrupted
			fmt.Fprintf(log, "round %d of %d, %s: %d answered, %d errors, p50 %s, p99 %s, %.1f/s\n",
				round+1, s.Repetitions, s.Variants[i].Name,
				p.Requests.Answered, p.Requests.Errors, report.Duration(p.Latency.P50), report.Duration(p.Latency.P99),
				p.Rate.Achieved)
		}
		slices.Reverse(order)
	}
	return result, s.compare(result)
}

func (s *Scenario) one(ctx context.Context, v *Variant, run Runner, log io.Writer) (p *report.Report, err error) {
	defer s.finish(&err, "after", s.After, log)
	if err := s.command(ctx, "before", s.Before, log); err != nil {
		return nil, err
	}
	defer s.finish(&err, "after of the variant", v.After, log)
	if err := s.command(ctx, "before of the variant", v.Before, log); err != nil {
		return nil, err
	}
	return run(ctx, v.merged)
}

func (s *Scenario) command(ctx context.Context, name, command string, log io.Writer) error {
	if command == "" {
		return nil
	}
	if err := churn.Run(ctx, command, log); err != nil {
		return fmt.Errorf("command %s: %w", name, err)
	}
	return nil
}

// finish carries out a command that undoes something, even when the scenario has been interrupted.
func (s *Scenario) finish(err *error, name, command string, log io.Writer) {
	if failed := s.command(context.Background(), name, command, log); failed != nil && *err == nil {
		*err = failed
	}
}

func (s *Scenario) compare(r *Result) error {
	var sides []compare.Side
	for _, v := range r.Variants {
		if len(v.Rounds) > 0 {
			sides = append(sides, compare.Side{Name: v.Name, Rounds: v.Rounds})
		}
	}
	if len(sides) < 2 {
		return nil
	}
	threshold := compare.DefaultThreshold
	if s.Threshold != nil {
		threshold = *s.Threshold
	}
	var err error
	r.Comparison, err = compare.Compare(sides, threshold)
	return err
}
