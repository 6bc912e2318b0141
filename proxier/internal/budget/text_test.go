package budget_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
)

// TestQuotesAreBounded: whatever a value is made of, its quote is short and printable, and begins as the value does.
func TestQuotesAreBounded(t *testing.T) {
	for _, unit := range []string{"a", "\x00", "\x1b[31m", "\U000e0001", "\xff", "é", `"`, "日本"} {
		for _, n := range []int{0, 1, 10, 100, 1000, 100_000} {
			text := strings.Repeat(unit, n)
			got := budget.Quote(text)
			if len(got) > budget.QuoteBytes || budget.Printable(got) != got {
				t.Errorf("%d × %q: %d bytes: %s", n, unit, len(got), got)
			}
			plain, err := strconv.Unquote(got)
			if err != nil || plain != text && !strings.HasPrefix(text, strings.TrimSuffix(plain, "...")) {
				t.Errorf("%d × %q is quoted as %s (%v)", n, unit, got, err)
			}
			if len(strconv.Quote(text)) < budget.QuoteBytes-3 && plain != text {
				t.Errorf("%d × %q is cut without need: %s", n, unit, got)
			}
		}
	}
}

func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "web": "web", "Bücher": "Bücher", "a b": "a b", "/etc/ipvs-proxier/web.yaml": "/etc/ipvs-proxier/web.yaml",
		"\x1b[2J": `"\x1b[2J"`, "a\nb": `"a\nb"`, "a\xffb": `"a\xffb"`, "\u202egnp": `"\u202egnp"`, "a\tb": `"a\tb"`,
	} {
		if got := budget.Printable(text); got != want {
			t.Errorf("%q is printed as %s, want %s", text, got, want)
		}
	}
}

func TestLists(t *testing.T) {
	var words []string
	for i := range budget.Words + 2 {
		words = append(words, fmt.Sprint(i))
	}
	if got := budget.List(words[:budget.Words]); got != strings.Join(words[:budget.Words], ", ") {
		t.Errorf("as many as there may be: %s", got)
	}
	if got := budget.List(words); !strings.HasSuffix(got, "18, 19 and 2 more") {
		t.Errorf("two too many: %s", got)
	}
}

func TestMessagesAreCut(t *testing.T) {
	for _, text := range []string{"short", strings.Repeat("a", budget.MessageBytes), strings.Repeat("a",
		2*budget.MessageBytes), "a" + strings.Repeat("é", budget.MessageBytes)} {
		got := budget.Cut(text)
		if len(got) > budget.MessageBytes || len(text) <= budget.MessageBytes && got != text ||
			strings.ToValidUTF8(got, "?") != got {
			t.Errorf("%d bytes become %d: %s", len(text), len(got), got)
		}
	}
}
