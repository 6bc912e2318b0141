package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// sum is the checksum of a file.
type sum struct{ name, sha256 string }

type sums []sum

// sumsOf returns those of all files of a directory, by name.
func sumsOf(dir string) (all sums, err error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		data, err := os.ReadFile(filepath.Join(dir, file.Name()))
		if err != nil {
			return nil, err
		}
		all = append(all, sum{file.Name(), fmt.Sprintf("%x", sha256.Sum256(data))})
	}
	return all, nil
}

// text is what `sha256sum --check` reads.
func (s sums) text() string {
	var lines strings.Builder
	for _, one := range s {
		fmt.Fprintf(&lines, "%s  %s\n", one.sha256, one.name)
	}
	return lines.String()
}

type object = map[string]any

// provenance says which commit and which Go the files come from, as a statement of in-toto with SLSA's predicate
// (slsa.dev/provenance/v1). Nobody has signed it: the workflow of a release has GitHub sign its own for the same files.
func (r release) provenance(files sums) ([]byte, error) {
	subjects := []object{}
	for _, file := range files {
		subjects = append(subjects, object{"name": file.name, "digest": object{"sha256": file.sha256}})
	}
	const project = "https://github.com/ipvs-proxier/ipvs-proxier"
	return json.MarshalIndent(object{
		"_type": "https://in-toto.io/Statement/v1", "subject": subjects, "predicateType": "https://slsa.dev/provenance/v1",
		"predicate": object{
			"buildDefinition": object{
				"buildType":          project + "/blob/main/docs/releasing.md",
				"externalParameters": object{"version": r.version, "target": "release-dry-run"},
				"resolvedDependencies": []object{
					{"uri": "git+" + project, "digest": object{"gitCommit": r.revision}},
					{"uri": "pkg:golang/stdlib@" + strings.TrimPrefix(runtime.Version(), "go")},
				},
			},
			"runDetails": object{"builder": object{"id": project + "/blob/main/Makefile"}},
		},
	}, "", " ")
}
