package main

import (
	"encoding/json"
	"fmt"
	"io"
)

// tableOrJSON is an error of wrong use where it is neither.
func tableOrJSON(output string) error {
	if output != "table" && output != "json" {
		return usageError{Err: fmt.Errorf("output %q is unknown; allowed are table, json", output)}
	}
	return nil
}

// printJSON prints what -o json asks for.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
