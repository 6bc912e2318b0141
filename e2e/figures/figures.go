// Package figures writes numbers for the pages that are made of measurements.
package figures

import (
	"fmt"
	"math"
)

// Thousands writes a whole number with a comma between its thousands, and a dash where it is negative.
func Thousands(v float64) string {
	text := fmt.Sprintf("%.0f", math.Abs(v))
	negative := v < 0 && text != "0"
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	if negative {
		return "–" + text
	}
	return text
}
