package document

import "fmt"

// Mistake is what is wrong in a file, and where.
type Mistake struct {
	// Document counts from 1, and Line from the beginning of the file.
	Document, Line int
	// Object is "Service default/web", and Field "spec.ports[0].port". Either may be empty.
	Object, Field string
	Text          string
}

// Error implements error.
func (m Mistake) Error() string {
	text := fmt.Sprintf("line %d (document %d)", m.Line, m.Document)
	for _, part := range []string{m.Object, m.Field, m.Text} {
		if part != "" {
			text += ": " + part
		}
	}
	return text
}
