// Command release brings together what a release has: archives of the programs, images, the chart, lists of what is in
// them (SPDX 2.3), checksums and where it all comes from.
//
//	release -version v1.2.3 -revision COMMIT -created 1764460000 -programs bin/release/programs -out bin/out/release FILE ...
//
// The directory of programs has a directory for each platform, such as linux-arm64. FILEs are taken as they are. It
// publishes nothing. The same commit, Go and Debian packages give the same files.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "release:", err)
		}
		os.Exit(1)
	}
}

// release is what the command line chooses.
type release struct {
	version, revision string
	created           time.Time
	programs, out     string
	// notices are files that go into each archive of programs.
	notices []string
}

func run(args []string) error {
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	r := release{notices: []string{"LICENSE", "README.md", "docs/CHANGELOG.md"}}
	flags.StringVar(&r.version, "version", "", "tag of the release")
	flags.StringVar(&r.revision, "revision", "", "commit that everything is built from")
	flags.StringVar(&r.programs, "programs", "bin/release/programs", "directory with the programs of each platform")
	flags.StringVar(&r.out, "out", "bin/out/release", "directory to write into; it has to be new or empty")
	created := flags.Int64("created", 0, "when the commit was made, in seconds since 1970: the date of all files in archives")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if r.version == "" || r.revision == "" {
		return errors.New("want -version and -revision")
	}
	r.created = time.Unix(*created, 0).UTC()
	return r.make(flags.Args())
}

// make writes all files of the release. The checksums and the provenance name all others.
func (r release) make(files []string) error {
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	if there, err := os.ReadDir(r.out); err != nil || len(there) > 0 {
		return fmt.Errorf("%s has %d files already: what is old must not get into a release (%w)", r.out, len(there), err)
	}
	platforms, err := os.ReadDir(r.programs)
	if err != nil {
		return err
	}
	for _, platform := range platforms {
		if err := r.platform(platform.Name()); err != nil {
			return fmt.Errorf("%s: %w", platform.Name(), err)
		}
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := r.write(filepath.Base(file), data); err != nil {
			return err
		}
	}
	sums, err := sumsOf(r.out)
	if err != nil {
		return err
	}
	statement, err := r.provenance(sums)
	if err != nil {
		return err
	}
	if err := r.write("provenance.json", statement); err != nil {
		return err
	}
	fmt.Print(sums.text())
	return r.write("SHA256SUMS", []byte(sums.text()))
}

func (r release) write(name string, data []byte) error {
	return os.WriteFile(filepath.Join(r.out, name), data, 0o644)
}
