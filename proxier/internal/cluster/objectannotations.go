package cluster

import (
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/annotation"
)

// UnknownAnnotation is the reason of a key under our prefix that does not exist.
var UnknownAnnotation = Reason{Name: "UnknownAnnotation"}

// AnnotationProblems returns what is rejected of the annotations of an object that is no Service.
func AnnotationProblems(of annotation.Object, annotations map[string]string) (problems Problems) {
	if len(annotations) == 0 {
		return problems
	}
	for _, key := range annotation.Keys(of) {
		text, written := annotations[key.String()]
		if !written {
			continue
		}
		if _, err := key.Parse(text); err != nil {
			problems.Add(Problem{Reason: InvalidAnnotation, Field: key.Field(), Message: err.Error()})
		}
	}
	unknownKeys(&problems, "", of, annotations)
	return problems
}

// unknownKeys reports keys under our prefix that do not exist. Each field begins with where, which names the object.
func unknownKeys(problems *Problems, where string, of annotation.Object, annotations map[string]string) {
	unknown := annotation.Unknown(of, annotations)
	if len(unknown) == 0 {
		return
	}
	known := annotation.Names(of)
	for _, key := range unknown {
		if problems.room(UnknownAnnotation) {
			problems.put(Problem{
				Reason: UnknownAnnotation, Field: where + annotation.Field(key),
				Message: "this version knows no such key of " + string(of) + "s" + didYouMean(key, known) + "; known are " +
					strings.Join(known, ", ") + "; the annotation has no effect",
			})
		}
	}
}
