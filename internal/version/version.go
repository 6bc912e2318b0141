// Package version says what a program was built as.
package version

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
)

// Info is what `version -o json` prints.
type Info struct {
	// Version is the tag or commit that the program was built from; "unknown" where the builder did not say.
	Version string `json:"version"`
	// Go is the version of Go, Platform the system and architecture, such as linux/arm64.
	Go       string `json:"goVersion"`
	Platform string `json:"platform"`
}

// Of returns what a program of that version is.
func Of(version string) Info {
	return Info{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
}

// Check reports whether Print knows the format, text or json.
func Check(format string) error {
	if format == "text" || format == "json" {
		return nil
	}
	return fmt.Errorf("output %q is unknown; allowed are text, json", format)
}

// Print writes it: the version alone as text, all of it as JSON.
func (i Info) Print(w io.Writer, format string) error {
	switch format {
	case "text":
		_, err := fmt.Fprintln(w, i.Version)
		return err
	case "json":
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(i)
	}
	return Check(format)
}
