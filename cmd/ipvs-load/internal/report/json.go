package report

import (
	"encoding/json"
	"fmt"
	"io"
)

// WriteJSON writes the report as WriteObject does.
func (p *Report) WriteJSON(w io.Writer) error { return WriteObject(w, p) }

// WriteObject writes what every command prints for --json: one indented JSON object and a newline.
func WriteObject(w io.Writer, object any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(object); err != nil {
		return fmt.Errorf("write the report as JSON: %w", err)
	}
	return nil
}
