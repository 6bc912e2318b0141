// Package marks writes what a program knows into pages that people write: between two marks of the page.
package marks

import (
	"fmt"
	"strings"
)

// Replace puts each part in the place of what stands between two marks, the first part between the first two. The marks
// stay. A mark that is missing is an error.
func Replace(page, begin, end string, parts ...string) (string, error) {
	var done strings.Builder
	for i, part := range parts {
		before, rest, begins := strings.Cut(page, begin)
		_, after, ends := strings.Cut(rest, end)
		switch {
		case !begins:
			return "", fmt.Errorf("mark %d, %q, is missing", i+1, strings.TrimSpace(begin))
		case !ends:
			return "", fmt.Errorf("mark %q is missing behind mark %d, %q", strings.TrimSpace(end), i+1, strings.TrimSpace(begin))
		}
		done.WriteString(before + begin + part + end)
		page = after
	}
	return done.String() + page, nil
}
