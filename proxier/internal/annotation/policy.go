package annotation

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
)

// resources are the API's groups and resources of the kinds.
var resources = map[Object][2]string{
	Service: {"", "services"}, EndpointSlice: {"discovery.k8s.io", "endpointslices"}, Node: {"", "nodes"},
}

// Policy returns a ValidatingAdmissionPolicy with its binding for each kind of object that may carry annotations, as
// YAML: the API server warns at once of what [Key.Parse] refuses and of unknown keys. It refuses nothing: what is wrong
// is a Problem later.
func Policy() string {
	var b strings.Builder
	b.WriteString(`# Written by "make generate" from the table of annotations. The API server (Kubernetes 1.30 and later) warns at
# once of a value that ipvs-proxier would reject; kubectl shows it. To refuse such objects instead, write Deny for Warn.
`)
	for _, of := range []Object{Service, EndpointSlice, Node} {
		policyOf(&b, of)
	}
	return b.String()
}

func policyOf(b *strings.Builder, of Object) {
	name := "ipvs-proxier-" + strings.ToLower(string(of)) + "-annotations"
	operations := "[CREATE, UPDATE]"
	fmt.Fprintf(b, `---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: %s
spec:
  failurePolicy: Ignore
  matchConstraints:
    resourceRules:
    - apiGroups: [%q]
      apiVersions: [v1]
      operations: %s
      resources: [%s]
  matchConditions:
  - name: annotated
    expression: has(object.metadata.annotations) && object.metadata.annotations.exists(k, k.startsWith(%q))
  variables:
  - name: annotations
    expression: object.metadata.annotations
  validations:
`, name, resources[of][0], operations, resources[of][1], Prefix)
	for _, k := range Keys(of) {
		fmt.Fprintf(b, "  - expression: |-\n      %s\n    message: %s\n", strings.ReplaceAll(k.CEL(), "\n", "\n      "),
			strconv.Quote(k.String()+" has a value that is not allowed; allowed is "+k.Allowed))
	}
	fmt.Fprintf(b, "  - expression: variables.annotations.all(k, !k.startsWith(%q) || k in [%s])\n    message: %s\n",
		Prefix, quotedList(Names(of)),
		strconv.Quote("there is an unknown key under "+Prefix+"; known are "+strings.Join(Names(of), ", ")))
	fmt.Fprintf(b, `---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: %s
spec:
  policyName: %s
  validationActions: [Warn]
`, name, name)
}

// CEL returns the expression that holds for objects whose annotation, if they have it, [Key.Parse] takes. It reads
// variables.annotations.
func (k Key) CEL() string {
	value := fmt.Sprintf("variables.annotations[%q].lowerAscii()", k.String())
	conditions := []string{
		fmt.Sprintf("size(variables.annotations[%q]) <= %d", k.String(), budget.ValueBytes),
		fmt.Sprintf("%s.matches(%s)", value, rawString(k.Grammar())),
	}
	entries := value + `.split(",")`
	for _, limit := range k.Limits {
		conditions = append(conditions, fmt.Sprintf(`%s.map(e, e.split("=")[size(e.split("=")) - 1].trim()).all(x, %s)`,
			entries, limit.CEL))
	}
	if k.Unique {
		name := `e.split("=")[0].trim()`
		if !k.PerPort { // the Service's weights: "zone=a:3"
			name = `e.split(":")[0].split("=").map(w, w.trim()).join("=")`
			conditions = append(conditions, fmt.Sprintf(
				`%s.filter(e, e.contains(":")).map(e, %s).all(n, %s.filter(e, e.contains(":")).map(e, %s).exists_one(m, m == n))`,
				entries, name, entries, name,
			),
				fmt.Sprintf(`size(%s.filter(e, e.trim().startsWith("*"))) <= 1`, entries))
		} else {
			conditions = append(conditions, fmt.Sprintf(
				`(!%s.contains("=") || %s.map(e, %s).all(n, %s.map(e, %s).exists_one(m, m == n)))`, value, entries, name, entries,
				name,
			))
		}
	}
	return fmt.Sprintf("!(%q in variables.annotations) ||\n(%s)", k.String(), strings.Join(conditions, " &&\n"))
}

// rawString writes a string for CEL in which backslashes stand for themselves.
func rawString(s string) string { return `r"` + s + `"` }

func quotedList(words []string) string {
	quoted := slices.Clone(words)
	for i, w := range quoted {
		quoted[i] = strconv.Quote(w)
	}
	return strings.Join(quoted, ", ")
}
