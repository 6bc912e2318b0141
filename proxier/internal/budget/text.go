package budget

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Quote returns the text in quotes, what cannot be printed escaped, and cut where it is too long to be read.
func Quote(text string) string {
	const marks = len(`""...`)
	length, end := marks, 0
	for end < len(text) {
		_, size := utf8.DecodeRuneInString(text[end:])
		length += len(strconv.Quote(text[end:end+size])) - len(`""`)
		if length > QuoteBytes {
			return strconv.Quote(text[:end] + "...")
		}
		end += size
	}
	return strconv.Quote(text)
}

// Short returns the text as it is where that is short and can be printed, else quoted and cut.
func Short(text string) string {
	if len(text) <= QuoteBytes && Printable(text) == text {
		return text
	}
	return Quote(text)
}

// Cut cuts a text that is longer than a message may be.
func Cut(text string) string { return cut(text, MessageBytes) }

// CutLine cuts a text that is longer than a line of the log may be.
func CutLine(text string) string { return cut(text, LineBytes) }

func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit-len("...")], "") + "..." // the cut may go through a letter
}

// Printable returns the text as it is where a terminal and a line of a log show it as it is, else quoted.
func Printable(text string) string {
	for _, r := range text {
		if !strconv.IsPrint(r) || r == utf8.RuneError {
			return strconv.Quote(text)
		}
	}
	return text
}

// List joins the words, the first ones where there are too many.
func List(words []string) string {
	if more := len(words) - Words; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(words[:Words], ", "), more)
	}
	return strings.Join(words, ", ")
}
