package marks

import (
	"strings"
	"unicode/utf8"
)

// Width is how many characters a line of a page has at most, as proxier's TestLinesOfPagesAreShort wants it. Tables
// are free.
const Width = 120

// Wrap breaks a paragraph, or an item of a list, into lines of at most Width characters, between words. All lines but
// the first begin with the indent. A word that is longer has a line of its own. There is no newline at the end.
func Wrap(text, indent string) string {
	var b strings.Builder
	at := 0
	for i, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case at+1+n > Width:
			b.WriteString("\n" + indent)
			at = utf8.RuneCountInString(indent)
		default:
			b.WriteString(" ")
			at++
		}
		b.WriteString(word)
		at += n
	}
	return b.String()
}
