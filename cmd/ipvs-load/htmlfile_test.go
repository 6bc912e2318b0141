package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRunAndReportWriteAPage(t *testing.T) {
	address, end := serveProcess(t)
	defer end()
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(in("run.html"), []byte("an older one"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("run.html", in("link.html")); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	args := []string{
		"run", "--mode", "crr", "--rate", "500", "--count", "100", "--json", "--html", in("link.html"), address,
	}
	if status := run(context.Background(), args, &out, os.Stderr); status != 0 {
		t.Fatalf("exit status %d", status)
	}
	// What run printed twice is a file with two runs.
	if err := os.WriteFile(in("saved.json"), append(out.Bytes(), out.Bytes()...), 0o644); err != nil {
		t.Fatal(err)
	}
	if status := run(context.Background(), []string{
		"report", in("saved.json"), "--html", in("saved.html"),
	}, io.Discard, os.Stderr); status != 0 {
		t.Fatalf("exit status %d", status)
	}
	for name, parts := range map[string][]string{
		"run.html":   {"ipvs-load: crr to " + address, "web-1"},
		"saved.html": {"ipvs-load: 2 runs", "saved, round 1", "saved, round 2", "web-1"},
	} {
		page, err := os.ReadFile(in(name))
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range parts {
			if !strings.Contains(string(page), part) {
				t.Errorf("%s lacks %q", name, part)
			}
		}
		if !strings.HasSuffix(string(page), "</html>\n") {
			t.Errorf("%s ends before its end", name)
		}
	}
	wantFiles(t, dir, "link.html", "run.html", "saved.html", "saved.json")
	if target, err := os.Readlink(in("link.html")); err != nil || target != "run.html" {
		t.Errorf("the link leads to %q, %v", target, err)
	}
}

func TestAScenarioWritesAPage(t *testing.T) {
	address, end := serveProcess(t)
	defer end()
	dir := t.TempDir()
	file, page := filepath.Join(dir, "two.yaml"), filepath.Join(dir, "two.html")
	text := "name: two\nload: {mode: crr, count: 20, targets: [" + `"` + address + `"` + "]}\n" +
		"variants: [{name: slow, load: {rate: 200}}, {name: fast, load: {rate: 400}}]\nrepetitions: 2\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	// Whether one is slower than the other is not the question here.
	var errs bytes.Buffer
	if status := run(context.Background(), []string{"scenario", file, "--html", page}, io.Discard, &errs); status > 1 {
		t.Fatalf("exit status %d: %s", status, &errs)
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		"ipvs-load: 4 runs", "slow, round 1", "slow, round 2", "fast, round 1", "fast, round 2",
	} {
		if !strings.Contains(string(got), part) {
			t.Errorf("the page lacks %q", part)
		}
	}
}

func wantFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("the directory has %q, want %q", got, want)
	}
}

func TestAPageThatCannotBeWrittenStopsTheRunBeforeItBegins(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{
		filepath.Join(dir, "missing", "run.html"): "no such file or directory",
		dir:                       "not an ordinary file",
		"/dev/null":               "not an ordinary file",
		"/proc/self/nowhere.html": "--html /proc/self/nowhere.html: open",
	} {
		var errs bytes.Buffer
		// A load of an hour would not end within the test's time.
		args := []string{"run", "--mode", "crr", "--rate", "1", "--duration", "1h", "--html", path, "tcp://127.0.0.1:1"}
		if status := run(context.Background(), args, io.Discard, &errs); status != exitUsage ||
			!strings.Contains(errs.String(), want) {
			t.Errorf("%s: exit status %d, error %q; want 2 and %q", path, status, &errs, want)
		}
	}
	wantFiles(t, dir)
}

func TestAFileThatIsNoRunIsNotDrawn(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text.json")
	if err := os.WriteFile(text, []byte("200 answered"), 0o644); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		text: "it is no JSON of ipvs-load", filepath.Join(dir, "none.json"): "no such file",
	} {
		var errs bytes.Buffer
		if status := run(context.Background(), []string{
			"report", path, "--html", filepath.Join(dir, "out.html"),
		}, io.Discard, &errs); status != exitUsage || !strings.Contains(errs.String(), want) {
			t.Errorf("%s: exit status %d, error %q; want 2 and %q", path, status, &errs, want)
		}
	}
	wantFiles(t, dir, "text.json")
}
