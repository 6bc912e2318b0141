package document

import "bytes"

// split cuts a file in front of its lines of "---".
func split(content []byte) [][]byte {
	var documents [][]byte
	start, at := 0, 0
	for line := range bytes.Lines(content) {
		if _, separates := afterSeparator(line); separates && at > start {
			documents = append(documents, content[start:at])
			start = at
		}
		at += len(line)
	}
	return append(documents, content[start:])
}

// afterSeparator returns what stands in a line behind the "---" that begins a document.
func afterSeparator(line []byte) ([]byte, bool) {
	rest, has := bytes.CutPrefix(line, []byte("---"))
	return rest, has && (len(rest) == 0 || bytes.ContainsRune([]byte(" \t\r\n"), rune(rest[0])))
}

// leadingBlank counts the lines before the first one that says something. A document without such a line is empty.
func leadingBlank(document []byte) (n int, empty bool) {
	for line := range bytes.Lines(document) {
		if rest, separates := afterSeparator(line); separates {
			line = rest
		}
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
			return n, false
		}
		n++
	}
	return n, true
}
