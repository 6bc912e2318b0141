package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMapCountIsRaisedWhereItIsLow(t *testing.T) {
	for before, after := range map[string]string{
		"65530\n": "1048576", "1048576\n": "1048576\n", "2000000": "2000000", "what\n": "what\n",
	} {
		file := filepath.Join(t.TempDir(), "max_map_count")
		if err := os.WriteFile(file, []byte(before), 0o644); err != nil {
			t.Fatal(err)
		}
		said := ""
		raiseMapCount(file, func(format string, args ...any) { said += fmt.Sprintf(format, args...) })
		got, err := os.ReadFile(file)
		if err != nil || string(got) != after {
			t.Errorf("%q became %q (%v), want %q", before, got, err, after)
		}
		if logged := strings.Contains(said, "was 65530"); logged != (before != after) {
			t.Errorf("%q: said %q", before, said)
		}
	}
	said := ""
	raiseMapCount("/nonexistent/max_map_count", func(format string, args ...any) { said += format })
	if said != "" {
		t.Errorf("said %q where there is no such parameter", said)
	}
}
