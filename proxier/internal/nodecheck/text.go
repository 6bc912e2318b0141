package nodecheck

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// width is how many columns a line takes at most; one that holds a longer word takes more.
const width = 80

// Page is where each code has a section.
const Page = "docs/node-check.md"

// WriteText writes the report for people: the verdict, then each finding, worst first, in lines of 80 columns.
// printable makes what comes from outside fit for a terminal.
func (r Report) WriteText(w io.Writer, printable func(string) string) error {
	var b strings.Builder
	wrap(&b, "", "", printable(r.Verdict))
	quiet := true
	for _, f := range r.Findings {
		wrong := f.Severity != OK
		if wrong || !quiet || f.Code == r.Findings[0].Code {
			b.WriteString("\n")
		}
		quiet = true
		head := fmt.Sprintf("%-7s  %s  ", f.Severity, f.Code)
		if !wrong {
			wrap(&b, head, strings.Repeat(" ", len(head)), printable(f.Found))
			continue
		}
		quiet = false
		b.WriteString(head + f.Name + "\n")
		for _, part := range []struct{ label, text string }{
			{"found", f.Found}, {"therefore", f.Consequence}, {"fix", f.Fix},
		} {
			if part.text != "" {
				wrap(&b, fmt.Sprintf("  %-9s  ", part.label), strings.Repeat(" ", 13), printable(part.text))
			}
		}
	}
	if r.Worst() != OK {
		fmt.Fprintf(&b, "\nEach code has a section in %s.\n", Page)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// wrap writes words in lines of the width; first begins the first line, and rest the others.
func wrap(b *strings.Builder, first, rest, text string) {
	line, empty := first, true
	for word := range strings.FieldsSeq(text) {
		if !empty && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			b.WriteString(line + "\n")
			line, empty = rest, true
		}
		if !empty {
			line += " "
		}
		line, empty = line+word, false
	}
	b.WriteString(line + "\n")
}
