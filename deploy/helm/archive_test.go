package main

import (
	"bytes"
	"os"
	"testing"
	"time"

	"helm.sh/helm/v3/pkg/chart/loader"
)

// TestArchive: the archive of a tag has its version in both places, is a chart with all files, and is the same again.
func TestArchive(t *testing.T) {
	created := time.Unix(1764460000, 0).UTC()
	var texts [][]byte
	for range 2 {
		path, err := pack(chartDir, t.TempDir(), "v1.2.3", created)
		if err != nil {
			t.Fatal(err)
		}
		c, err := loader.Load(path)
		if err != nil {
			t.Fatal(err)
		}
		if m := c.Metadata; m.Version != "1.2.3" || m.AppVersion != "v1.2.3" || len(c.Schema) == 0 || len(c.Templates) < 8 ||
			len(c.Files) == 0 {
			t.Errorf("the archive has chart %s of version %s, with %d templates and %d files",
				m.Version, m.AppVersion, len(c.Templates), len(c.Files))
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, text)
	}
	if !bytes.Equal(texts[0], texts[1]) {
		t.Error("the archive of the same commit is another one the second time")
	}
}

// TestChartVersion: charts need semantic versions.
func TestChartVersion(t *testing.T) {
	for version, want := range map[string]string{
		"v1.2.3": "1.2.3", "1.2.3": "1.2.3", "v1.2.3-rc.1": "1.2.3-rc.1", "v1.2.3-4-gabc1234": "1.2.3-4-gabc1234",
		"0123456": "0.0.0-commit-0123456", "abc1234-dirty": "0.0.0-commit-abc1234-dirty", "unknown": "0.0.0-commit-unknown",
	} {
		if got := chartVersion(version); got != want {
			t.Errorf("the chart of %s has version %s, want %s", version, got, want)
		}
	}
}
