package proxier

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// eachGoFile reads the Go files below these folders of the repository, each under its name there, and returns how many
// there are.
func eachGoFile(t *testing.T, look func(name string, text []byte), folders ...string) (files int) {
	t.Helper()
	for _, folder := range folders {
		err := filepath.WalkDir(filepath.Join("..", folder), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") {
				return err
			}
			text, err := os.ReadFile(path)
			if err == nil {
				files++
				look(strings.TrimPrefix(filepath.ToSlash(path), "../"), text)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}
