package golden_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/internal/golden"
)

// failing keeps what a test would have failed by.
type failing struct {
	testing.TB
	said []string
}

func (f *failing) Helper() {}

func (f *failing) Errorf(_ string, args ...any) { f.said = append(f.said, args[0].(string)) }

func TestCompare(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.txt")
	t.Setenv("UPDATE_GOLDEN", "1")
	golden.Compare(t, path, "a\nb\n")
	t.Setenv("UPDATE_GOLDEN", "")
	golden.Compare(t, path, "a\nb\n")
	other := &failing{TB: t}
	golden.Compare(other, path, "a\nc\n")
	if strings.Join(other.said, "") != path {
		t.Errorf("another content: %q; want the file's name", other.said)
	}
	if content, err := os.ReadFile(path); err != nil || string(content) != "a\nb\n" {
		t.Errorf("%q, %v: the comparison has written", content, err)
	}
}
