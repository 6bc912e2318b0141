package main

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// made makes a release of a program that is there anyway, the test itself, and returns the directory.
func made(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	for path, data := range map[string][]byte{
		"programs/linux-amd64/ipvs-proxier": self, "LICENSE": []byte("free"), "chart-1.2.3.tgz": []byte("chart"),
	} {
		path = filepath.Join(dir, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	r := release{version: "v1.2.3", revision: "abc", created: time.Unix(1764460000, 0).UTC(), programs: dir +
		"/programs", out: dir + "/out", notices: []string{dir + "/LICENSE"}}
	if err := r.make([]string{dir + "/chart-1.2.3.tgz"}); err != nil {
		t.Fatal(err)
	}
	if err := r.make(nil); err == nil {
		t.Error("a release is made where an old one is")
	}
	return r.out
}

// TestRelease: the checksums and the provenance name all files, archives have the program as it was, the list of a
// program has its modules, and a second release of the same is the same.
func TestRelease(t *testing.T) {
	dir := made(t)
	output, err := exec.Command("sh", "-c", "cd "+dir+" && sha256sum --check --strict SHA256SUMS").CombinedOutput()
	want := []string{
		"chart-1.2.3.tgz", "ipvs-proxier-v1.2.3-linux-amd64.spdx.json", "ipvs-proxier-v1.2.3-linux-amd64.tar.gz",
	}
	checked := ""
	for _, name := range want {
		checked += name + ": OK\n"
	}
	if diff := cmp.Diff(checked, string(output)); diff != "" || err != nil {
		t.Errorf("sha256sum: %v (-want +got)\n%s", err, diff)
	}
	read := func(name string, into any) {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil {
			err = json.Unmarshal(data, into)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var statement struct {
		Subject []struct {
			Name   string
			Digest struct{ SHA256 string }
		}
		Predicate struct {
			BuildDefinition struct {
				ResolvedDependencies []struct{ Digest struct{ GitCommit string } }
			}
		}
	}
	read("provenance.json", &statement)
	lines := ""
	for _, s := range statement.Subject {
		lines += fmt.Sprintf("%s  %s\n", s.Digest.SHA256, s.Name)
	}
	text, err := os.ReadFile(filepath.Join(dir, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(text), lines); diff != "" ||
		statement.Predicate.BuildDefinition.ResolvedDependencies[0].Digest.GitCommit != "abc" {
		t.Errorf("the provenance is of other files (-SHA256SUMS +provenance):\n%s", diff)
	}
	var list document
	read(want[1], &list)
	if len(list.Packages) < 2 || list.Packages[1].Name != "stdlib" {
		t.Errorf("the list of the program leaves out Go itself: %+v", list.Packages)
	}
	if names := archived(t, filepath.Join(dir, want[2])); !slices.Equal(names, []string{
		"-rwxr-xr-x ipvs-proxier-v1.2.3-linux-amd64/ipvs-proxier", "-rw-r--r-- ipvs-proxier-v1.2.3-linux-amd64/LICENSE",
	}) {
		t.Errorf("the archive has %q", names)
	}
	again, err := os.ReadFile(filepath.Join(made(t), "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(text), string(again)); diff != "" {
		t.Errorf("a second release of the same differs:\n%s", diff)
	}
}

// TestContents: each module of a program is listed by the package URL of what was built, which is what it was replaced
// by.
func TestContents(t *testing.T) {
	text, err := release{version: "v1.2.3"}.contents("ipvs-load", "linux-arm64",
		&debug.BuildInfo{GoVersion: "go1.26.8", Deps: []*debug.Module{
			{Path: "example.com/a/b", Version: "v1.0.0+incompatible"},
			{Path: "example.com/c", Version: "v1.0.0", Replace: &debug.Module{Path: "example.com/d", Version: "v2.0.0"}},
		}})
	if err != nil {
		t.Fatal(err)
	}
	var list document
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	urls := []string{}
	for _, p := range list.Packages[1:] {
		urls = append(urls, p.Refs[0].Locator)
	}
	want := []string{
		"pkg:golang/stdlib@1.26.8", "pkg:golang/example.com/a/b@v1.0.0%2Bincompatible", "pkg:golang/example.com/d@v2.0.0",
	}
	if diff := cmp.Diff(want, urls); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	ids := map[string]bool{"SPDXRef-DOCUMENT": true}
	for _, p := range list.Packages {
		ids[p.ID] = true
	}
	for _, r := range list.Relationships {
		if !ids[r.Element] || !ids[r.Related] {
			t.Errorf("a relationship with what is not listed: %+v", r)
		}
	}
}

func archived(t *testing.T, path string) (names []string) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	for files := tar.NewReader(unzipped); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, fmt.Sprintf("%s %s", header.FileInfo().Mode(), strings.TrimPrefix(header.Name, "./")))
	}
}
