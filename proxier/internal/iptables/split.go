package iptables

import "strings"

// Split cuts a rule into words. iptables-save puts words with spaces into double quotes, and a backslash ahead of
// quotes and backslashes inside (libxtables, xtables_save_string).
func Split(text string) (words []string) {
	var word strings.Builder
	begun, quoted, escaped := false, false, false
	end := func() {
		if begun {
			words = append(words, word.String())
		}
		word.Reset()
		begun = false
	}
	for _, c := range text {
		switch {
		case escaped:
			word.WriteRune(c)
			escaped = false
		case c == '\\':
			escaped, begun = true, true
		case c == '"':
			quoted, begun = !quoted, true
		case c == ' ' && !quoted:
			end()
		default:
			word.WriteRune(c)
			begun = true
		}
	}
	end()
	return words
}
