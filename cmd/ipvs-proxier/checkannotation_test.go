package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/proxier"
)

func TestCheckAnnotationsOfTheCommandLine(t *testing.T) {
	for arg, want := range map[string]string{
		"scheduler=least-connection":          "ipvs-proxier.io/scheduler=lc\n",
		"ipvs-proxier.io/scheduler=lc":        "ipvs-proxier.io/scheduler=lc\n",
		"node/weight=3":                       "node/ipvs-proxier.io/weight=3\n",
		"endpointslice/weight=3":              "endpointslice/ipvs-proxier.io/weight=3\n",
		"kube-router.io/service.scheduler=lc": "ipvs-proxier.io/scheduler=lc\n",
		"kube-router.io/service.scheduler=x":  "problem: ",
		"example.com/scheduler=lc":            "problem: example.com/scheduler: it has no meaning here",
	} {
		out, err := checked(t, arg)
		if wrong := strings.HasPrefix(want, "problem"); !strings.HasPrefix(out, want) || (err != nil) != wrong {
			t.Errorf("check %s: %v, %q, want %q", arg, err, out, want)
		}
		text, _ := checked(t, "-o", "json", arg)
		var objects []proxier.Checked
		if err := json.Unmarshal([]byte(text), &objects); err != nil || len(objects) != 1 ||
			len(objects[0].Problems) > 0 != strings.HasPrefix(want, "problem") {
			t.Errorf("check -o json %s: %v\n%s", arg, err, text)
		}
	}
}

// TestCheckNothing: a directory without manifests is a mistake, and one problem is no "problems".
func TestCheckNothing(t *testing.T) {
	if out, err := checked(t, t.TempDir()); err == nil || !strings.Contains(err.Error(), ".yaml") {
		t.Errorf("an empty directory: %v, %q", err, out)
	}
	if _, err := checked(t, "scheduler=x"); err == nil || err.Error() != "1 problem, see above" {
		t.Errorf("one problem: %v", err)
	}
	if out, _ := checked(t, "--settings", "-"); strings.Contains(out, " - (") {
		t.Errorf("a setting without a value says nothing:\n%s", out)
	}
}
