package spelling_test

import (
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/internal/spelling"
)

func TestNearest(t *testing.T) {
	words := []string{"rr", "lc", "round-robin", "least-connection", "masqueradeAll", "masqueradeBit"}
	for word, want := range map[string]string{
		"rr":               "rr",
		"round-robbin":     "round-robin",
		"least-conection":  "least-connection",
		"laest-connection": "least-connection", // neighbours swapped
		"masqueradAll":     "masqueradeAll",
		"masqueradeBits":   "masqueradeBit",
		"cl":               "lc",
		"hash":             "",
		"":                 "",
		"wlc":              "lc",
		"rœund-robin":      "round-robin", // letters, not bytes
	} {
		got, found := spelling.Nearest(word, words)
		if got != want || found != (want != "") {
			t.Errorf("Nearest(%q) = %q, %v; want %q", word, got, found, want)
		}
	}
}

func FuzzNearest(f *testing.F) {
	f.Add("least", "lc")
	f.Add("\xff", "")
	f.Fuzz(func(t *testing.T, word, known string) {
		got, found := spelling.Nearest(word, []string{known, word})
		if word != "" && (!found || got != word && got != known) {
			t.Errorf("Nearest(%q, %q) = %q, %v", word, known, got, found)
		}
	})
}
