package manifests

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ipvs-proxier/ipvs-proxier/internal/document"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// Found is what stands in one place of a file: an object that is read, one of another kind, or one with mistakes.
type Found struct {
	key objectKey
	// Document counts from 1. Line is the file's line in which the document begins.
	Document, Line int
	// Value is a *v1.Service, *discovery.EndpointSlice or *v1.Node, completed as the API server would. It is nil for
	// another kind, and where a mistake leaves nothing to look at.
	Value Value
	// Mistakes are what the API server would refuse, as far as this program relies on it: at most budget.Problems.
	Mistakes []document.Mistake
	// Untyped says that neither apiVersion nor kind is there, as in a kustomization or in the values of a chart.
	Untyped bool
}

// String returns "Service default/web", without the name where there is none.
func (f Found) String() string { return f.key.String() }

// Read reads a file. The error is a [document.Mistake]: a document that is not YAML, which leaves nothing of the file.
func Read(content []byte) (found []Found, err error) {
	for object, err := range document.Read(content, nil) {
		if err != nil {
			return nil, err
		}
		found = appendObject(found, object)
	}
	return found, nil
}

// appendObject adds an object, or those that are in it where it is a List.
func appendObject(found []Found, o *document.Object) []Found {
	f := Found{Document: o.Document, Line: o.Line, Untyped: o.Untyped}
	if o.Wrong != nil {
		f.mistaken(*o.Wrong)
		return append(found, f)
	}
	f.key = objectKey{o.Kind, cluster.Name{Namespace: o.Namespace, Name: o.Name}}
	reading, meant := kindOf(o.TypeMeta)
	switch reading {
	case list:
		items, wrong := o.Items()
		if wrong == nil {
			for _, item := range items {
				found = appendObject(found, item)
			}
			return found
		}
		f.mistaken(*wrong)
	case single:
		f.decode(o)
	case mistaken:
		f.mistaken(o.Mistake("", "apiVersion %q kind %q is not read here%s; allowed are v1 Service, discovery.k8s.io/v1 EndpointSlice, v1 Node and v1 List",
			o.APIVersion, o.Kind, meant))
	}
	return append(found, f)
}

// decode reads an object of a kind that is read.
func (f *Found) decode(o *document.Object) {
	if o.Namespace == "" && o.Kind != "Node" {
		o.Namespace = metav1.NamespaceDefault // in the mistakes, too
	}
	value := empty(f.key.kind)
	leftOut, wrong := o.Decode(value)
	if wrong != nil {
		f.mistaken(*wrong)
		return
	}
	f.Value = value
	f.key.name = complete(f.key.kind, value)
	for _, m := range leftOut {
		f.mistaken(m)
	}
	check(value, func(field, format string, args ...any) {
		if len(f.Mistakes) < budget.Problems {
			f.mistaken(o.Mistake(field, format, args...))
		}
	})
}

// mistaken adds a mistake, unless there are enough of them.
func (f *Found) mistaken(m document.Mistake) {
	if len(f.Mistakes) < budget.Problems {
		f.Mistakes = append(f.Mistakes, m)
	}
}
