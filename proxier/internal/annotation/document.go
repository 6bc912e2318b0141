package annotation

import (
	"fmt"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/internal/marks"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// Marks between which docs/annotations.md is generated.
const (
	beginMark = "<!-- generated: make generate -->"
	endMark   = "<!-- end -->"
)

// Document returns the text with its generated parts written anew, in their order: the table of keys, that of
// schedulers, and that of aliases. It fails when the marks are not there.
func Document(text string) (string, error) {
	return marks.Replace(text, beginMark+"\n", endMark, keyTable(), schedulerTable(), aliasTable())
}

func keyTable() string {
	var b strings.Builder
	b.WriteString("| key | on | value | without it | |\n|---|---|---|---|---|\n")
	for _, k := range table {
		var on []string
		for _, o := range k.Objects {
			on = append(on, string(o))
		}
		allowed := k.Allowed
		fmt.Fprintf(&b, "| `%s` | %s | %s, for example `%s` | %s | %s |\n",
			k.Name, strings.Join(on, ", "), allowed, k.Example, k.Default, k.Summary)
	}
	return b.String()
}

func schedulerTable() string {
	var b strings.Builder
	b.WriteString("| scheduler | also | weights | flags | order | |\n|---|---|---|---|---|---|\n")
	for _, name := range scheduler.Names() {
		s, _ := scheduler.Lookup(name)
		flags := ""
		if s.Supported != 0 {
			flags = fmt.Sprintf("%s; by default %s", s.Supported, s.Default)
		}
		order := "the node's own"
		if s.Order == scheduler.Canonical {
			order = "the same on every node"
		}
		weights := "only 0 counts"
		if s.Weighted {
			weights = "yes"
		}
		if s.SlowStart {
			weights = "yes, and slow start"
		}
		caution := s.Caution
		if s.CautionUnweighted != "" {
			caution = s.CautionUnweighted
		}
		if caution != "" {
			caution = " Caution: " + caution + "."
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s%s |\n", name, strings.Join(s.Aliases, ", "), weights, flags, order,
			s.Summary, caution)
	}
	return b.String()
}

func aliasTable() string {
	var b strings.Builder
	b.WriteString("| key | meaning |\n|---|---|\n")
	for _, a := range Aliases {
		fmt.Fprintf(&b, "| `%s` | `%s`: %s |\n", a.Key, a.Name, a.Summary)
	}
	fmt.Fprintf(&b, "| `%s` | with the value `true`: as externalTrafficPolicy Local |\n", KubeRouterLocal)
	fmt.Fprintf(&b, "| `%s` | direct return is not built: a Problem, and packets are forwarded by nat |\n", KubeRouterDSR)
	b.WriteString("| `kube-router.io/service.hairpin`, `kube-router.io/service.hairpin.externalips` | nothing: an endpoint always reaches itself by its Service |\n")
	b.WriteString("| `kube-router.io/service.advertise.*` | nothing: announcing routes is not this program's business |\n")
	return b.String()
}
