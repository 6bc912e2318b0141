package nodecheck

import (
	"fmt"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/internal/marks"
)

// Sections are the part of docs/node-check.md that has a section for each code.
func Sections() string {
	var b strings.Builder
	for _, c := range Checks() {
		fmt.Fprintf(&b, "\n### %s %s\n\n", c.Code, c.Name)
		for _, item := range [][2]string{{"Looked at", c.Looks}, {"Consequence", c.Consequence}, {"Fix", c.Fix}} {
			b.WriteString(marks.Wrap("* **"+item[0]+":** "+item[1]+".", "  ") + "\n")
		}
		if c.Stops {
			b.WriteString("* `run` looks at it, too, and ends before it changes anything.\n")
		}
	}
	return b.String()
}
