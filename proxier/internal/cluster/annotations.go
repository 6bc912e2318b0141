package cluster

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/spelling"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// AnnotationPrefix begins every annotation of ours.
const AnnotationPrefix = "ipvs-proxier.io/"

// The keys of our annotations. They are read in this file and nowhere else.
const (
	AnnotationScheduler    = AnnotationPrefix + "scheduler"
	AnnotationDrainTimeout = AnnotationPrefix + "drain-timeout"
)

var annotationKeys = []string{AnnotationScheduler, AnnotationDrainTimeout}

// Choice is a scheduler and where it comes from.
type Choice struct {
	// Scheduler is the canonical name, registered in package scheduler.
	Scheduler string
	// Source says for people who chose it: an annotation, the configuration, the default, or the kernel, when an
	// invalid annotation leaves the value in force that is programmed.
	Source string
}

// The sources of a Choice.
const (
	SourceAnnotation = "annotation " + AnnotationScheduler
	SourceLastGood   = "last good value"
	SourceConfig     = "configuration"
	SourceNamespace  = "configuration of the namespace"
	SourceDefault    = "default"
)

// Schedulers are the choices of the operator, below those of a Service's own annotation.
type Schedulers struct {
	Default    string            // canonical name, or "" for scheduler.Default
	Namespaces map[string]string // canonical names by namespace
}

func (s Schedulers) choice(namespace string) Choice {
	if name := s.Namespaces[namespace]; name != "" {
		return Choice{name, SourceNamespace}
	}
	if s.Default != "" {
		return Choice{s.Default, SourceConfig}
	}
	return Choice{scheduler.Default, SourceDefault}
}

// readAnnotations returns the scheduler in force. A value that cannot be honoured leaves lastGood in force, or the
// operator's choice where there is none.
func readAnnotations(annotations map[string]string, operator Choice, lastGood string) (Choice, []Problem) {
	problems := unknownKeys(annotations)
	text, written := annotations[AnnotationScheduler]
	if !written {
		return operator, problems
	}
	if found, known := scheduler.Lookup(text); known {
		return Choice{found.Name, SourceAnnotation}, problems
	}
	inForce := operator
	if lastGood != "" {
		inForce = Choice{lastGood, SourceLastGood}
	}
	// The message does not say which it is: every node sees this Problem, and they may run different ones.
	return inForce, append(problems, Problem{
		Reason: InvalidAnnotation,
		Field:  fmt.Sprintf("metadata.annotations[%s]", AnnotationScheduler),
		Message: fmt.Sprintf("%q is no scheduler%s; allowed are %s; what the kernel runs stays in force, else %s (%s)",
			text, didYouMean(text, scheduler.Words()), strings.Join(scheduler.Names(), ", "), operator.Scheduler, operator.Source),
	})
}

// drainTimeout returns the annotation's duration, or the operator's where there is none or it cannot be read.
func (p *parser) drainTimeout() time.Duration {
	text, written := p.in.Service.Annotations[AnnotationDrainTimeout]
	if !written {
		return p.in.DrainTimeout
	}
	d, err := time.ParseDuration(strings.TrimSpace(text))
	if err != nil || d < 0 {
		p.problem(InvalidAnnotation, fmt.Sprintf("metadata.annotations[%s]", AnnotationDrainTimeout),
			"%q is not a duration from 0s such as 90s or 15m; in force is %s (configuration)", text, p.in.DrainTimeout)
		return p.in.DrainTimeout
	}
	return d
}

func unknownKeys(annotations map[string]string) []Problem {
	var problems []Problem
	for key := range annotations {
		if !strings.HasPrefix(key, AnnotationPrefix) || slices.Contains(annotationKeys, key) {
			continue
		}
		problems = append(problems, Problem{
			Reason: UnknownAnnotation,
			Field:  fmt.Sprintf("metadata.annotations[%s]", key),
			Message: fmt.Sprintf("this version knows no such key%s; known are %s; the annotation has no effect",
				didYouMean(key, annotationKeys), strings.Join(annotationKeys, ", ")),
		})
	}
	return problems
}

func didYouMean(word string, known []string) string {
	if near, found := spelling.Nearest(strings.ToLower(strings.TrimSpace(word)), known); found {
		return fmt.Sprintf(" (did you mean %s?)", near)
	}
	return ""
}
