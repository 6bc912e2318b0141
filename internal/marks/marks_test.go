package marks

import (
	"strings"
	"testing"
)

func TestReplace(t *testing.T) {
	for _, c := range []struct {
		page  string
		parts []string
		want  string // or, behind "error: ", a word of the error
	}{
		{"a<b>old</b>c", []string{"new"}, "a<b>new</b>c"},
		{"<b></b>", []string{"<b></b>"}, "<b><b></b></b>"},
		{"<b>1</b>-<b>2</b>-<b>3</b>", []string{"x", "y"}, "<b>x</b>-<b>y</b>-<b>3</b>"},
		{"</b><b>1</b>", []string{"x"}, "</b><b>x</b>"},
		{"nothing", nil, "nothing"},
		{"nothing", []string{"x"}, `error: mark 1, "<b>"`},
		{"<b>1</b>", []string{"x", "y"}, `error: mark 2, "<b>"`},
		{"</b><b>1", []string{"x"}, `error: "</b>"`},
	} {
		got, err := Replace(c.page, "<b>", "</b>", c.parts...)
		if says, fails := strings.CutPrefix(c.want, "error: "); fails {
			if err == nil || !strings.Contains(err.Error(), says) || got != "" {
				t.Errorf("%q with %q is %q, %v; want an error that says %s", c.page, c.parts, got, err, says)
			}
		} else if got != c.want || err != nil {
			t.Errorf("%q with %q is %q, %v; want %q", c.page, c.parts, got, err, c.want)
		}
	}
}
