package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/internal/debian"
)

// suites are those that the lab boots kernels of: 6.1, 6.12 twice, and at the end of 2026 7.3 and 7.2.
var suites = []string{"bookworm", "bookworm-backports", "trixie", "trixie-backports", "sid"}

// chosenSuite is the one that the environment variable LAB_SUITE names, of which an emulated machine's kernel comes
// instead of this machine's own archives. cache is the directory for kernels.
func chosenSuite(cache string) (debian.Suite, error) {
	name := os.Getenv("LAB_SUITE")
	switch {
	case name == "":
		return debian.Suite{Dir: cache}, nil
	case !slices.Contains(suites, name):
		return debian.Suite{}, fmt.Errorf(
			"LAB_SUITE %q is unknown; allowed are %s, or nothing for this machine's own archives", name,
			strings.Join(suites, ", "),
		)
	}
	return debian.Suite{Name: name, Dir: filepath.Join(cache, name)}, nil
}
