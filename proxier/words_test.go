package proxier

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// glossary is the page whose tables have the words of the project. A text search knows no meanings. So the page has
// quotation marks, in the last column of a row, around the phrases that are always wrong.
const glossary = "docs/glossary.md"

// TestWordsOfTheGlossary: comments and pages have none of the phrases that the glossary rejects.
func TestWordsOfTheGlossary(t *testing.T) {
	page, err := os.ReadFile("../" + glossary)
	if err != nil {
		t.Fatal(err)
	}
	words := rejectedIn(string(page))
	if len(words.instead) < 20 {
		t.Fatalf("%s has %d phrases in quotation marks", glossary, len(words.instead))
	}
	eachGoFile(t, func(name string, text []byte) {
		words.report(t, name, strings.Join(comment.FindAllString(string(text), -1), "\n"))
	}, ".")
	for path, text := range pages(t) {
		if path != glossary {
			words.report(t, path, strings.Join(prose(text), "\n"))
		}
	}
}

var (
	comment = regexp.MustCompile(`(?m)(?:^|\s)// .*$`)
	breaks  = regexp.MustCompile(`\s*\n\s*(?:// )?\s*`)
	inMarks = regexp.MustCompile(`"([^"]+)"`)
)

// rejected are phrases, each with the words of the glossary to use instead.
type rejected struct {
	instead map[string]string
	any     *regexp.Regexp
}

// rejectedIn returns the phrases in quotation marks in the last columns of a page's tables.
func rejectedIn(page string) rejected {
	r, all := rejected{instead: map[string]string{}}, []string{}
	for line := range strings.Lines(page) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 3 {
			continue
		}
		for _, phrase := range inMarks.FindAllStringSubmatch(cells[2], -1) {
			r.instead[strings.ToLower(phrase[1])] = strings.TrimSpace(cells[0])
			all = append(all, regexp.QuoteMeta(phrase[1]))
		}
	}
	r.any = regexp.MustCompile(`(?i)\b(?:` + strings.Join(all, "|") + `)\b`)
	return r
}

// report fails the test for each of the phrases in a text.
func (r rejected) report(t *testing.T, name, text string) {
	t.Helper()
	for _, phrase := range r.in(text) {
		t.Errorf("%s says %q; the word in %s is %q", name, phrase, glossary, r.instead[phrase])
	}
}

// in returns the phrases in a text, also where a line ends within one.
func (r rejected) in(text string) (found []string) {
	for _, phrase := range r.any.FindAllString(breaks.ReplaceAllString(text, " "), -1) {
		found = append(found, strings.ToLower(phrase))
	}
	return found
}

func TestRejectedPhrases(t *testing.T) {
	words := rejectedIn("A page.\n\n| verb | means | and not |\n|---|---|---|\n| report | \"log\" | tell, say: \"tells of\", \"told so\" |\n| see | | |\n")
	if len(words.instead) != 2 || words.instead["tells of"] != "report" {
		t.Fatalf("read from the table: %v", words.instead)
	}
	for text, want := range map[string]int{
		"// a tells of\n": 1, "// a tells\n\t// of it, Told so": 2, "A page tells\nof": 1, "// log tells often": 0,
		"// tell": 0,
	} {
		if got := words.in(text); len(got) != want {
			t.Errorf("%q: %q, want %d", text, got, want)
		}
	}
}
