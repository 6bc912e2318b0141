package html

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// duration shows microseconds with three significant digits in the unit that fits.
func duration(us float64) string {
	switch {
	case us < 999.5:
		return digits(us) + " µs"
	case us < 999_500:
		return digits(us/1e3) + " ms"
	}
	return digits(us/1e6) + " s"
}

// digits keeps three significant ones, and all before the point.
func digits(v float64) string {
	v = max(min(v, 1e15), -1e15) // beyond is nothing that was measured
	if v >= 100 {
		return count(int64(math.Round(v)))
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// count groups the digits of a number by three.
func count(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, s = "−", s[1:]
	}
	var parts []string
	for len(s) > 3 {
		parts = append([]string{s[len(s)-3:]}, parts...)
		s = s[:len(s)-3]
	}
	return sign + strings.Join(append([]string{s}, parts...), ",")
}

// rate shows requests per second.
func rate(v float64) string {
	if v >= 100 {
		return digits(v) + "/s"
	}
	return strconv.FormatFloat(v, 'g', 4, 64) + "/s"
}

func percent(share float64) string {
	return strconv.FormatFloat(100*share, 'f', 2, 64) + " %"
}

// seconds shows an offset in the run as people say it.
func seconds(v float64) string {
	whole := int64(math.Round(min(v, 1e15)))
	switch {
	case v < 60 || math.Abs(v-float64(whole)) > 1e-6 && v < 600:
		return strconv.FormatFloat(math.Round(v*1000)/1000, 'g', 6, 64) + " s"
	case whole < 3600 && whole%60 == 0:
		return fmt.Sprintf("%d min", whole/60)
	case whole < 3600:
		return fmt.Sprintf("%d:%02d min", whole/60, whole%60)
	case whole%3600 == 0:
		return fmt.Sprintf("%d h", whole/3600)
	}
	return fmt.Sprintf("%d:%02d h", whole/3600, whole%3600/60)
}

// shorten keeps the two ends of a text, because the names of pods differ in the last letters.
func shorten(s string, letters int) string {
	runes := []rune(s)
	if len(runes) <= letters {
		return s
	}
	tail := letters / 2
	return string(runes[:letters-tail-1]) + "…" + string(runes[len(runes)-tail:])
}
