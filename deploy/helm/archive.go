package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
)

// pack writes the archive of the chart, with the version of the programs in it, and returns its path. Helm's own way
// to do it writes the time of day into the archive; here all files have one date.
func pack(dir, out, version string, created time.Time) (string, error) {
	if version == "" {
		return "", fmt.Errorf("want -version")
	}
	c, err := loader.Load(dir)
	if err != nil {
		return "", err
	}
	var text bytes.Buffer
	zip, err := gzip.NewWriterLevel(&text, gzip.BestCompression)
	if err != nil {
		return "", err
	}
	files := tar.NewWriter(zip)
	// Chart.yaml goes first, as Helm has it: whoever looks for the name and version need not read on.
	raw := slices.Clone(c.Raw)
	slices.SortFunc(raw, func(a, b *chart.File) int {
		if first := strings.Compare(notFirst(a.Name), notFirst(b.Name)); first != 0 {
			return first
		}
		return strings.Compare(a.Name, b.Name)
	})
	for _, file := range raw {
		data := file.Data
		if file.Name == "Chart.yaml" {
			if data, err = withVersion(data, version); err != nil {
				return "", err
			}
		}
		header := &tar.Header{
			Name: c.Name() + "/" + file.Name, Mode: 0o644, Size: int64(len(data)), ModTime: created, Format: tar.FormatPAX,
		}
		if err := files.WriteHeader(header); err != nil {
			return "", err
		}
		if _, err := files.Write(data); err != nil {
			return "", err
		}
	}
	if err := files.Close(); err != nil {
		return "", err
	}
	if err := zip.Close(); err != nil {
		return "", err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(out, fmt.Sprintf("%s-%s.tgz", c.Name(), chartVersion(version)))
	if err := os.WriteFile(path, text.Bytes(), 0o644); err != nil {
		return "", err
	}
	// What Helm will say of it, is said now.
	packed, err := loader.Load(path)
	if err != nil {
		return "", fmt.Errorf("what was written cannot be read: %w", err)
	}
	return path, packed.Validate()
}

func notFirst(name string) string {
	if name == "Chart.yaml" {
		return "0"
	}
	return "1"
}

var semantic = regexp.MustCompile(`^v?([0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?)$`)

// chartVersion is the version of a chart for that of the programs. Charts need semantic versions, and what is between
// tags has none but its commit.
func chartVersion(version string) string {
	if found := semantic.FindStringSubmatch(version); found != nil {
		return found[1]
	}
	return "0.0.0-" + strings.Trim(regexp.MustCompile(`[^0-9A-Za-z.-]+`).ReplaceAllString("commit-"+version, "-"), "-")
}

var versions = regexp.MustCompile(`(?m)^(version|appVersion):.*$`)

// withVersion returns the text of Chart.yaml with these versions instead of those of the repository.
func withVersion(text []byte, version string) ([]byte, error) {
	if n := len(versions.FindAll(text, -1)); n != 2 {
		return nil, fmt.Errorf("version and appVersion stand in Chart.yaml %d times, want each once", n)
	}
	return versions.ReplaceAllFunc(text, func(line []byte) []byte {
		if bytes.HasPrefix(line, []byte("appVersion")) {
			return fmt.Appendf(nil, "appVersion: %q", version)
		}
		return fmt.Appendf(nil, "version: %q", chartVersion(version))
	}), nil
}
