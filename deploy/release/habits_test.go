package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

const top = "../../"

func parse(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil {
		err = yaml.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

var (
	target   = regexp.MustCompile(`(?m)^([a-z0-9-]+):`)
	makes    = regexp.MustCompile(`\bmake ([a-z0-9-]+)`)
	released = regexp.MustCompile(`^[a-z-]+/[a-z-]+@v[0-9]+\.[0-9]+\.[0-9]+$`)
)

// TestWorkflows: each does its work by targets of the Makefile that exist, so that everybody can do the same at home;
// and each action is of a version, not of a branch.
func TestWorkflows(t *testing.T) {
	text, err := os.ReadFile(top + "Makefile")
	if err != nil {
		t.Fatal(err)
	}
	targets := []string{}
	for _, found := range target.FindAllStringSubmatch(string(text), -1) {
		targets = append(targets, found[1])
	}
	files, err := filepath.Glob(top + ".github/workflows/*.yml")
	if err != nil || len(files) < 3 {
		t.Fatalf("%d workflows, %v", len(files), err)
	}
	for _, file := range files {
		var workflow struct {
			Jobs map[string]struct {
				Strategy struct{ Matrix struct{ Target []string } }
				Steps    []struct{ Uses, Run string }
			}
		}
		parse(t, file, &workflow)
		for name, job := range workflow.Jobs {
			asked := slices.Clone(job.Strategy.Matrix.Target)
			for _, step := range job.Steps {
				if step.Uses != "" && !released.MatchString(step.Uses) {
					t.Errorf("%s: job %s uses %s; want a version", file, name, step.Uses)
				}
				for _, found := range makes.FindAllStringSubmatch(step.Run, -1) {
					asked = append(asked, found[1])
				}
			}
			if len(asked) == 0 {
				t.Errorf("%s: job %s makes nothing", file, name)
			}
			for _, what := range asked {
				if what, _, _ = strings.Cut(what, " "); !slices.Contains(targets, what) {
					t.Errorf("%s: job %s makes %q, which is no target", file, name, what)
				}
			}
		}
	}
}

// TestDependabotKnowsAllModules: each module of the repository has an entry.
func TestDependabotKnowsAllModules(t *testing.T) {
	var settings struct {
		Updates []struct {
			Ecosystem string `json:"package-ecosystem"`
			Directory string
		}
	}
	parse(t, top+".github/dependabot.yml", &settings)
	known := []string{}
	for _, u := range settings.Updates {
		if u.Ecosystem == "gomod" {
			known = append(known, u.Directory)
		}
	}
	output, err := exec.Command("git", "-C", top, "ls-files", "*go.mod").Output()
	if err != nil {
		t.Skipf("no list of files: git ls-files: %v", err)
	}
	modules := []string{}
	for _, file := range strings.Fields(string(output)) {
		modules = append(modules, filepath.Join("/", filepath.Dir(file)))
	}
	slices.Sort(known)
	slices.Sort(modules)
	if !slices.Equal(known, modules) {
		t.Errorf("dependabot knows %q, modules are in %q", known, modules)
	}
}
