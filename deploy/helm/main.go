// Command helm does with the chart what the project needs of Helm, by Helm 3's own packages and without a cluster.
//
//	helm render -values FILE     the objects of these values, on standard output
//	helm matrix -out DIRECTORY   the objects of each file of values that the tests try
//	helm lint                    what `helm lint` finds
//	helm package -version v1.2.3 -out DIRECTORY
//
// It is a module of its own, because Helm is no dependency of the programs. The archive of a commit is the same
// whenever it is made.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "deploy/helm:", err)
		}
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	if len(args) == 0 {
		return errors.New("want render, matrix, lint or package")
	}
	flags := flag.NewFlagSet("helm "+args[0], flag.ContinueOnError)
	dir := flags.String("chart", "deploy/chart", "directory of the chart")
	to := flags.String("out", "bin/out", "directory to write into")
	var do func() error
	switch args[0] {
	case "render":
		values := flags.String("values", "", "file of values")
		do = func() error { return renderTo(out, *dir, *values) }
	case "matrix":
		values := flags.String("values", "deploy/helm/testdata/matrix", "directory of files of values")
		do = func() error { return matrix(*dir, *values, *to) }
	case "lint":
		do = func() error { return lintChart(out, *dir) }
	case "package":
		version := flags.String("version", "", "version of the programs, and tag of the images")
		created := flags.Int64("created", 0, "when the commit was made, in seconds since 1970: the date of the archive's files")
		do = func() error {
			path, err := pack(*dir, *to, *version, time.Unix(*created, 0).UTC())
			if err == nil {
				fmt.Fprintln(out, path)
			}
			return err
		}
	default:
		return fmt.Errorf("%q is unknown; allowed are render, matrix, lint, package", args[0])
	}
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%s takes no arguments, found %q", args[0], flags.Args())
	}
	return do()
}

// renderTo writes the objects of a file of values, below the comment that the file begins with.
func renderTo(out io.Writer, dir, path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	r, err := render(dir, text)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	_, err = io.WriteString(out, leadingComment(string(text))+r.manifest())
	return err
}

// leadingComment returns the lines of comment that a file begins with.
func leadingComment(text string) string {
	var lines strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") {
			break
		}
		lines.WriteString(line)
	}
	return lines.String()
}

// matrix renders each file of values of a directory into a file of the same name.
func matrix(dir, values, out string) error {
	files, err := filepath.Glob(filepath.Join(values, "*.yaml"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no values in %s (%w)", values, err)
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	for _, file := range files {
		var text strings.Builder
		if err := renderTo(&text, dir, file); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(out, filepath.Base(file)), []byte(text.String()), 0o644); err != nil {
			return err
		}
	}
	return nil
}
