package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/proxier"
)

// checkedAnnotation checks KEY=VALUE. What is in force is a setting of the whole object, by the annotation's key.
func checkedAnnotation(arg string) proxier.Checked {
	key, value, _ := strings.Cut(arg, "=")
	if domain, _, is := strings.Cut(key, "/"); is && strings.Contains(domain, ".") && domain != ourDomain {
		return checkedAlias(key, value)
	}
	canonical, err := proxier.CheckAnnotation(arg)
	checked := proxier.Checked{Object: "annotation " + arg, File: "command line"}
	if err != nil {
		checked.Problems = []proxier.ProblemStatus{{Reason: "InvalidAnnotation", Field: arg, Message: err.Error()}}
		return checked
	}
	of := ""
	for _, kind := range []string{"node/", "endpointslice/"} {
		if strings.HasPrefix(arg, kind) {
			of = kind
		}
	}
	key, value, _ = strings.Cut(of+canonical, "=")
	checked.Settings = map[string][]proxier.SettingStatus{"": {{Key: key, Value: value, Source: "command line"}}}
	return checked
}

const ourDomain = "ipvs-proxier.io"

// checkedAlias checks an annotation of another project on a Service that has nothing else.
func checkedAlias(key, value string) proxier.Checked {
	object := map[string]any{
		"apiVersion": "v1", "kind": "Service", "spec": map[string]any{"ports": []any{map[string]any{"port": 80}}},
		"metadata": map[string]any{"name": "any", "annotations": map[string]string{key: value}},
	}
	text, err := json.Marshal(object)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	checker := proxier.NewChecker(proxier.Default())
	checked := proxier.Checked{Object: "annotation " + key + "=" + value, File: "command line"}
	problem := func(format string, args ...any) proxier.Checked {
		checked.Problems = append(checked.Problems,
			proxier.ProblemStatus{Reason: "UnknownAnnotation", Field: key, Message: fmt.Sprintf(format, args...)})
		return checked
	}
	if err := checker.Read("command line", strings.NewReader(string(text))); err != nil {
		return problem("%v", err)
	}
	result := checker.Result()[0]
	if checked.Problems = result.Problems; len(checked.Problems) > 0 {
		return checked
	}
	for _, settings := range result.Settings {
		for _, s := range settings {
			if strings.Contains(s.Source, key) {
				checked.Settings = map[string][]proxier.SettingStatus{
					"": {{Key: ourDomain + "/" + s.Key, Value: s.Value, Source: s.Source}},
				}
			}
		}
	}
	if checked.Settings == nil {
		return problem("%s: it has no meaning here; docs/annotations.md lists what is read of other projects", key)
	}
	return checked
}

func printAnnotation(w io.Writer, checked proxier.Checked) {
	for _, p := range checked.Problems {
		fmt.Fprintln(w, "problem: "+proxier.Printable(p.Message))
	}
	for _, s := range checked.Settings[""] {
		fmt.Fprintln(w, s.Key+"="+s.Value)
	}
}
