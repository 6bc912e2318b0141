package marks

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestWrap(t *testing.T) {
	long := strings.Repeat("ä", Width)
	for _, c := range []struct{ text, indent, want string }{
		{"", "", ""},
		{"a  b\nc", "  ", "a b c"},
		{long + " b", "  ", long + "\n  b"},
		{"a " + long + " b", "", "a\n" + long + "\nb"},
		{long[2:], "", long[2:]},
		{"* " + long[6:] + " b", "  ", "* " + long[6:] + "\n  b"},
		{"* " + long[8:] + " b", "  ", "* " + long[8:] + " b"}, // 2, 116, 2
	} {
		if got := Wrap(c.text, c.indent); got != c.want {
			t.Errorf("%q is\n%s\nwant\n%s", c.text, got, c.want)
		}
	}
	text := strings.Repeat("four word ", 100)
	for line := range strings.Lines(Wrap("* "+text, "  ")) {
		n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n"))
		if n > Width || n < Width-6 && strings.HasSuffix(line, "\n") {
			t.Errorf("%d characters: %q", n, line)
		}
	}
}
