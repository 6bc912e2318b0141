//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"
)

// TestChart: the API server takes what the chart makes of each file of values, with every field checked; and it takes
// the chart of now over what the version before has left there.
func TestChart(t *testing.T) {
	c := newCluster(t)
	_, client, _ := c.startAPIServer(c.Node1)
	space := &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "ipvs-proxier"}}
	_, err := client.CoreV1().Namespaces().Create(t.Context(), space, metav1.CreateOptions{})
	c.must(err)
	files, err := filepath.Glob(filepath.Join(programs.Path("charts"), "*.yaml"))
	c.must(err)
	if len(files) < 12 {
		t.Fatalf("%d files in %s: make e2e makes them", len(files), programs.Path("charts"))
	}
	taken := 0
	for _, file := range files {
		for _, o := range c.objectsOf(file) {
			if o.Kind == "PodMonitor" { // of the Prometheus operator, which is not here
				continue
			}
			if err := o.apply(t, client, "tester", true); err != nil {
				t.Errorf("%s: %s %s is not accepted: %v", filepath.Base(file), o.Kind, o.Name, err)
			}
			taken++
		}
	}
	t.Logf("the API server has taken %d objects of %d files of values", taken, len(files))

	for _, o := range c.objectsOf("e2e/testdata/deployed-before.yaml") {
		c.must(o.apply(t, client, "kubectl", false))
	}
	for _, o := range c.objectsOf(filepath.Join(programs.Path("charts"), "minimal.yaml")) {
		if err := o.apply(t, client, "helm", false); err != nil {
			t.Errorf("%s %s is not accepted over what the version before has left: %v", o.Kind, o.Name, err)
		}
	}
	daemons, err := client.AppsV1().DaemonSets("ipvs-proxier").Get(t.Context(), "ipvs-proxier", metav1.GetOptions{})
	c.must(err)
	if daemons.Generation != 2 || daemons.Spec.Template.Annotations["checksum/config"] == "" {
		t.Errorf("the DaemonSet is of generation %d, with annotations %v; want what the chart makes",
			daemons.Generation, daemons.Spec.Template.Annotations)
	}
}

// deployedObject is an object of a file, as JSON.
type deployedObject struct {
	metav1.PartialObjectMetadata
	text []byte
}

// objectsOf reads the objects of a file.
func (c *cluster) objectsOf(path string) (objects []deployedObject) {
	c.t.Helper()
	text, err := os.ReadFile(path)
	c.must(err)
	for _, document := range strings.Split(string(text), "\n---\n") {
		o := deployedObject{}
		o.text, err = yaml.YAMLToJSONStrict([]byte(document))
		c.must(err)
		c.must(json.Unmarshal(o.text, &o.PartialObjectMetadata))
		if o.Kind != "" { // only a comment
			objects = append(objects, o)
		}
	}
	return objects
}

// apply applies the object as `kubectl apply --server-side` does, with every field checked; dry changes nothing.
func (o deployedObject) apply(t *testing.T, client kubernetes.Interface, manager string, dry bool) error {
	t.Helper()
	collection := collections[o.Kind]
	if collection == "" {
		t.Fatalf("where are objects of the kind %s?", o.Kind)
	}
	r := client.CoreV1().RESTClient().Patch("application/apply-patch+yaml").AbsPath(strings.Replace(collection, "NS",
		o.Namespace, 1), o.Name).
		Param("fieldManager", manager).Param("force", "true").Param("fieldValidation", "Strict").Body(o.text)
	if dry {
		r = r.Param("dryRun", "All")
	}
	return r.Do(t.Context()).Error()
}
