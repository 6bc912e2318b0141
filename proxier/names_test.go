package proxier

import (
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestNamesDifferByMoreThanALetter: whoever looks for rules.go does not open rule.go. It holds for files and folders
// of each folder. Free are the kernel's names of schedulers, and doc.go, which is Go's own.
func TestNamesDifferByMoreThanALetter(t *testing.T) {
	folders := map[string][]string{}
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == ".." {
			return err
		}
		if name := entry.Name(); entry.IsDir() && (name == "testdata" || strings.HasPrefix(name, ".") || name == "bin") {
			return filepath.SkipDir
		}
		if !entry.IsDir() && !strings.HasSuffix(path, ".go") {
			return nil
		}
		folder := filepath.ToSlash(filepath.Dir(path))
		if folder == "../scheduler" || entry.Name() == "doc.go" {
			return nil
		}
		folders[folder] = append(folders[folder], stem(entry.Name()))
		return nil
	})
	if err != nil || len(folders["../e2e"]) < 50 {
		t.Fatalf("%d names in e2e, %v", len(folders["../e2e"]), err)
	}
	for _, folder := range slices.Sorted(maps.Keys(folders)) {
		names := folders[folder]
		slices.Sort(names)
		names = slices.Compact(names)
		for i, a := range names {
			for _, b := range names[i+1:] {
				if oneLetter(a, b) {
					t.Errorf("%s has %s and %s, which differ by one letter", folder, a, b)
				}
			}
		}
	}
}

// stem is a name without what says its kind.
func stem(name string) string { return strings.TrimSuffix(strings.TrimSuffix(name, ".go"), "_test") }

// oneLetter reports whether one letter that is added, left out or exchanged makes one name of the other.
func oneLetter(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	if a == b || len(b)-len(a) > 1 {
		return false
	}
	at := 0
	for at < len(a) && a[at] == b[at] {
		at++
	}
	return a[at:] == b[at+1:] || len(a) == len(b) && a[at+1:] == b[at+1:]
}

func TestOneLetter(t *testing.T) {
	for pair, want := range map[string]bool{
		"rule rules": true, "rules rule": true, "want wart": true, "order border": true, "abc abxc": true, "a b": true,
		"main main":  false,
		"rule ruler": true, "rule foundation": false, "text test": true, "apply applyall": false, "abcd abdc": false,
	} {
		a, b, _ := strings.Cut(pair, " ")
		if oneLetter(a, b) != want {
			t.Errorf("%s: %v, want %v", pair, !want, want)
		}
	}
}
