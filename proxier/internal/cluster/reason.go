package cluster

// Reason is the kind of a Problem. It is declared once, beside the code that finds such Problems, and never changed;
// those that several files find are below. Events, metrics and status show its name, and docs/operating.md lists them
// all.
type Reason struct {
	// Name is a short CamelCase word.
	Name string
	// OfNode says that such a Problem is of one node alone: of its kernel, its programs, its addresses. The others come
	// from what was written and from the configuration. Every node has them alike, word for word but for InForce.
	OfNode bool
	// Urgent says that something is taken away from a Service. Such Problems are listed ahead of others where not all
	// are.
	Urgent bool
}

// String returns the name.
func (r Reason) String() string { return r.Name }

// The reasons that several files find.
var (
	// InvalidAnnotation: the value of one of our annotations.
	InvalidAnnotation = Reason{Name: "InvalidAnnotation"}
	// InvalidField: a field that the API server would not have let through.
	InvalidField = Reason{Name: "InvalidField"}
	// AnnotationWithoutEffect: a valid value that changes nothing.
	AnnotationWithoutEffect = Reason{Name: "AnnotationWithoutEffect"}
	// BeyondBudget: more than one object may have on a node.
	BeyondBudget = Reason{Name: "BeyondBudget", Urgent: true}
)
