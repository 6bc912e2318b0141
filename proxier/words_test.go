package proxier

import (
	"regexp"
	"strings"
	"testing"
)

// otherWords are phrases that are always wrong in comments and pages, with what docs/glossary.md has instead. A text
// search knows no meanings, so that only phrases are here which have no right one.
var otherWords = map[string]string{
	"tells whether": "reports whether, or says whether of a field",
	"told whether":  "whether it is reported",
	"has told so":   "has reported so",
}

// TestWordsOfTheGlossary: comments and pages keep to the verbs of the glossary.
func TestWordsOfTheGlossary(t *testing.T) {
	eachGoFile(t, func(name string, text []byte) {
		reportOtherWords(t, name, strings.Join(comment.FindAllString(string(text), -1), "\n"))
	}, ".")
	for path, text := range pages(t) {
		reportOtherWords(t, path, strings.Join(prose(text), "\n"))
	}
}

var (
	comment = regexp.MustCompile(`(?m)(?:^|\s)// .*$`)
	breaks  = regexp.MustCompile(`\s*\n\s*(?:// )?\s*`)
)

// reportOtherWords fails the test for each phrase of otherWords in a text, also where a line ends within it.
func reportOtherWords(t *testing.T, name, text string) {
	t.Helper()
	for _, found := range wrongWords(text) {
		t.Errorf("%s says %q, want %q (docs/glossary.md)", name, found, otherWords[found])
	}
}

func wrongWords(text string) (found []string) {
	text = strings.ToLower(breaks.ReplaceAllString(text, " "))
	for phrase := range otherWords {
		if strings.Contains(text, phrase) {
			found = append(found, phrase)
		}
	}
	return found
}

func TestWrongWords(t *testing.T) {
	for text, want := range map[string]int{
		"// a tells whether\n": 1, "// a tells\n\t// whether": 1, "A page tells\nwhether": 1, "// reports whether": 0,
	} {
		if got := wrongWords(text); len(got) != want {
			t.Errorf("%q: %q, want %d", text, got, want)
		}
	}
}
