package nodecheck

import (
	"fmt"
	"strings"
)

// Sections are the part of docs/node-check.md that has a section for each code.
func Sections() string {
	var b strings.Builder
	for _, c := range Checks() {
		fmt.Fprintf(&b, "\n### %s %s\n\n", c.Code, c.Name)
		fmt.Fprintf(&b, "* **Looked at:** %s.\n", c.Looks)
		fmt.Fprintf(&b, "* **Consequence:** %s.\n", c.Consequence)
		fmt.Fprintf(&b, "* **Mend:** %s.\n", c.Mend)
		if c.Stops {
			b.WriteString("* `run` looks at it, too, and ends before it changes anything.\n")
		}
	}
	return b.String()
}
