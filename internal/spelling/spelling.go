// Package spelling finds the word that somebody meant.
package spelling

import "unicode/utf8"

// Nearest returns the known word that is nearest to word: at most a third of its letters, and at least one, inserted,
// left out, replaced or swapped with their neighbour. Of equally near words the first one counts. A word is nearest to
// itself.
//
// A word costs no more than the known ones are long: one that is far longer than all of them is not compared.
func Nearest(word string, known []string) (string, bool) { return new(speller).nearest(word, known) }

// speller counts what it compares.
type speller struct{ compared int }

func (s *speller) nearest(word string, known []string) (best string, found bool) {
	letters := utf8.RuneCountInString(word)
	limit := max(1, letters/3)
	var runes []rune
	for _, candidate := range known {
		// Each letter more or less is an edit.
		if n := utf8.RuneCountInString(candidate); n-letters > limit || letters-n > limit {
			continue
		}
		if runes == nil {
			runes = []rune(word)
		}
		if d := s.distance(runes, []rune(candidate)); d <= limit {
			best, limit = candidate, d-1
		}
	}
	return best, best != ""
}

// distance is the optimal string alignment distance: Damerau and Levenshtein's without editing a swapped pair again.
func (s *speller) distance(a, b []rune) int {
	s.compared += len(a) * len(b)
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row = last, row, before
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}
