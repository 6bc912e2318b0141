package benchmark

import (
	"fmt"
	"strings"
)

// Insert puts text in the place of a kind of guest on a page.
func Insert(page, kind, text string) (string, error) {
	begin, end := "<!-- measured "+kind+" -->\n", "<!-- end "+kind+" -->"
	before, rest, found := strings.Cut(page, begin)
	if !found {
		return "", fmt.Errorf("there is no %q on the page", strings.TrimSpace(begin))
	}
	_, after, found := strings.Cut(rest, end)
	if !found {
		return "", fmt.Errorf("there is no %q after %q", end, strings.TrimSpace(begin))
	}
	return before + begin + "\n" + strings.TrimSpace(text) + "\n\n" + end + after, nil
}
