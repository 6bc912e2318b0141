package cluster

import (
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/annotation"
)

// AnnotationProblems returns what cannot be honoured of the annotations of an object that is no Service.
func AnnotationProblems(of annotation.Object, annotations map[string]string) (problems []Problem) {
	if len(annotations) == 0 {
		return nil
	}
	for _, key := range annotation.Keys(of) {
		text, written := annotations[key.String()]
		if !written {
			continue
		}
		if _, err := key.Parse(text); err != nil {
			problems = append(problems, Problem{Reason: InvalidAnnotation, Field: key.Field(), Message: err.Error()})
		}
	}
	return append(problems, unknownKeys(of, annotations)...)
}

// unknownKeys tells of keys under our prefix that do not exist.
func unknownKeys(of annotation.Object, annotations map[string]string) (problems []Problem) {
	unknown := annotation.Unknown(of, annotations)
	if len(unknown) == 0 {
		return nil
	}
	known := annotation.Names(of)
	for _, key := range unknown {
		problems = append(problems, Problem{
			Reason: UnknownAnnotation, Field: annotation.Field(key),
			Message: "this version knows no such key of " + string(of) + "s" + didYouMean(key, known) + "; known are " + strings.Join(known, ", ") + "; the annotation has no effect",
		})
	}
	return problems
}
