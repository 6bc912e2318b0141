package proxier

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// pages returns the text of all pages for people: README.md, those of docs, and those beside what they are about, by
// path from the repository's root.
func pages(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for _, pattern := range []string{
		"README.md", "docs/*.md", "findings/README.md", ".github/*.md", "e2e/peers/README.md",
	} {
		found, err := filepath.Glob("../" + pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			texts[strings.TrimPrefix(path, "../")] = string(text)
		}
	}
	if len(texts) < 10 {
		t.Fatalf("found %d pages only", len(texts))
	}
	return texts
}

// prose returns the lines of a page outside of code blocks, each with its number, "" for lines of code.
func prose(text string) []string {
	lines, fenced := strings.Split(text, "\n"), false
	for i, line := range lines {
		fence := strings.HasPrefix(strings.TrimSpace(line), "```")
		if fence || fenced || strings.HasPrefix(line, "    ") && (i == 0 || lines[i-1] == "") {
			lines[i] = ""
		}
		if fence {
			fenced = !fenced
		}
	}
	return lines
}

// TestEveryPageIsOnTheMap: docs/README.md leads to every page of docs.
func TestEveryPageIsOnTheMap(t *testing.T) {
	texts := pages(t)
	for path := range texts {
		if name, is := strings.CutPrefix(path, "docs/"); is && name != "README.md" &&
			!strings.Contains(texts["docs/README.md"], "]("+name+")") {
			t.Errorf("docs/README.md does not lead to %s", path)
		}
	}
}

var (
	link      = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	generated = regexp.MustCompile(`(?s)<!-- (?:generated|measured|options|rows).*?<!-- end[ a-z]*-->`)
)

// TestLinesOfPagesAreShort: prose keeps to 120 characters. Tables, code, the targets of links and what programs write
// do not count.
func TestLinesOfPagesAreShort(t *testing.T) {
	for path, text := range pages(t) {
		text = generated.ReplaceAllStringFunc(text,
			func(block string) string { return strings.Repeat("\n", strings.Count(block, "\n")) })
		for i, line := range prose(text) {
			if n := utf8.RuneCountInString(link.ReplaceAllString(line, "]")); n > 120 && !strings.HasPrefix(line, "|") {
				t.Errorf("%s:%d has %d characters, want 120 at most", path, i+1, n)
			}
		}
	}
}

// TestLinksOfPagesLead: each link to a file of the repository, and to a heading of a page, has its end there.
func TestLinksOfPagesLead(t *testing.T) {
	texts, anchors := pages(t), map[string]map[string]bool{}
	for path, text := range texts {
		anchors[path] = headings(text)
	}
	for path, text := range texts {
		for i, line := range prose(text) {
			for _, found := range link.FindAllStringSubmatch(line, -1) {
				to, anchor, _ := strings.Cut(found[1], "#")
				if strings.Contains(to, "://") {
					continue
				}
				target := path
				if to != "" {
					target = filepath.ToSlash(filepath.Join(filepath.Dir(path), to))
				}
				if _, err := os.Stat("../" + target); err != nil {
					t.Errorf("%s:%d leads to %s: %v", path, i+1, found[1], err)
				} else if anchor != "" && !anchors[target][anchor] {
					t.Errorf("%s:%d leads to %s: %s has no such heading", path, i+1, found[1], target)
				}
			}
		}
	}
}

// earlier is the anchor of a heading's earlier name, ahead of the heading: links from outside still lead there.
var earlier = regexp.MustCompile(`^<a id="([^"]+)"></a>$`)

// headings returns the anchors of a page's headings, made as GitHub makes them: lower case, hyphens for spaces, no
// other punctuation. The anchors of earlier names are among them.
func headings(text string) map[string]bool {
	anchors := map[string]bool{}
	for _, line := range prose(text) {
		if name := earlier.FindStringSubmatch(line); name != nil {
			anchors[name[1]] = true
		}
		title := strings.TrimLeft(line, "#")
		if title == line || !strings.HasPrefix(title, " ") {
			continue
		}
		anchors[strings.Map(func(r rune) rune {
			switch {
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			case r == ' ':
				return '-'
			}
			return -1
		}, strings.TrimSpace(title))] = true
	}
	return anchors
}
