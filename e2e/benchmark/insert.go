package benchmark

import (
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/internal/marks"
)

// Insert puts text in the place of a kind of guest on a page.
func Insert(page, kind, text string) (string, error) {
	return marks.Replace(page, "<!-- measured "+kind+" -->\n", "<!-- end "+kind+" -->",
		"\n"+strings.TrimSpace(text)+"\n\n")
}
