// Package golden compares what a test got with what a file says. UPDATE_GOLDEN=1 (make golden, make generate) writes
// the file anew.
package golden

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Update says that files are to be written anew.
func Update() bool { return os.Getenv("UPDATE_GOLDEN") != "" }

// Compare fails the test where the file is not what it got.
func Compare(t testing.TB, path, got string) {
	t.Helper()
	if Update() {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s is not what it should be (-file +got); make golden writes it anew:\n%s", path, diff)
	}
}
