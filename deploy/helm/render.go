package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	"helm.sh/helm/v3/pkg/releaseutil"
	"sigs.k8s.io/yaml"
)

// The release and the namespace that are rendered.
const (
	release   = "ipvs-proxier"
	namespace = "ipvs-proxier"
)

// kubeVersion is that of the cluster which is rendered for. Helm's packages alone would say 1.20.
var kubeVersion = chartutil.KubeVersion{Version: "v1.37.0", Major: "1", Minor: "37"}

// rendered is what the chart makes of values.
type rendered struct {
	// objects are in the order in which Helm installs them, each the text of a document.
	objects []releaseutil.Manifest
	notes   string
}

// manifest is all objects in one text, as `kubectl apply` takes it.
func (r rendered) manifest() string {
	var texts []string
	for _, o := range r.objects {
		texts = append(texts, strings.Trim(o.Content, "\n")+"\n")
	}
	return strings.Join(texts, "---\n")
}

// render returns what the chart makes of these values, for a cluster that has all of Kubernetes' own API. Values that
// the schema does not allow are an error.
func render(dir string, values []byte) (r rendered, err error) {
	c, err := loader.Load(dir)
	if err != nil {
		return r, err
	}
	given := map[string]any{}
	if err := yaml.Unmarshal(values, &given); err != nil {
		return r, err
	}
	capabilities := *chartutil.DefaultCapabilities
	capabilities.KubeVersion = kubeVersion
	options := chartutil.ReleaseOptions{Name: release, Namespace: namespace, Revision: 1, IsInstall: true}
	all, err := chartutil.ToRenderValues(c, given, options, &capabilities)
	if err != nil {
		return r, err
	}
	files, err := engine.Engine{Strict: true}.Render(c, all)
	if err != nil {
		return r, err
	}
	for path, text := range files {
		if filepath.Base(path) == "NOTES.txt" {
			r.notes = text
		}
		if filepath.Ext(path) != ".yaml" {
			delete(files, path)
		}
	}
	_, r.objects, err = releaseutil.SortManifests(files, capabilities.APIVersions, releaseutil.InstallOrder)
	return r, err
}

// lintChart prints what Helm finds wrong with the chart. A warning is an error here.
func lintChart(out io.Writer, dir string) error {
	values := map[string]any{"config": map[string]any{"apiServers": []any{"https://192.0.2.1:6443"}}}
	result := lint.AllWithKubeVersion(dir, values, namespace, &kubeVersion)
	bad := 0
	for _, m := range result.Messages {
		fmt.Fprintln(out, m)
		if m.Severity >= support.WarningSev {
			bad++
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d mistakes in %s", bad, dir)
	}
	return nil
}
