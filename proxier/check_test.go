package proxier

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/manifests"
)

// TestCheckRefusesWhatRunRefuses: check and run --manifests read the same, and call the same a mistake.
func TestCheckRefusesWhatRunRefuses(t *testing.T) {
	const service = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}\n"
	const slice = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a}\naddressType: IPv4\nports: [{port: 80}]\nendpoints: [{addresses: [10.0.0.1]}]\n"
	for name, c := range map[string]struct {
		text    string
		objects int
		wrong   []string // what is said of the file, each with these words; none where it is good
	}{
		"good":                        {service + "---\n" + slice, 2, nil},
		"another kind beside it":      {service + "---\napiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: b}\nspec: {template: {}}\n", 1, nil},
		"a Deployment beside it":      {"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n--- # and\n" + service, 1, nil},
		"upper and lower case":        {strings.Replace(service, "clusterIP", "clusterip", 1), 1, []string{"line 4 document 1 spec.clusterip unknown field"}},
		"an unknown field":            {service + "---\n" + strings.Replace(service, "port: 80", "prt: 80", 1), 2, []string{"line 9 document 2 spec.ports[0].prt", "spec.ports[0].port 0 1 and 65535"}},
		"of another type":             {strings.Replace(service, "80", "http", 1), 1, []string{"line 4 document 1 spec.ports[0].port string int32"}},
		"no name":                     {strings.Replace(service, "name: a", "", 1), 1, []string{"line 3 document 1 metadata.name missing"}},
		"no port":                     {strings.Replace(service, "{port: 80}", "", 1), 1, []string{"spec.ports at least one"}},
		"a bad protocol":              {strings.Replace(service, "port: 80", "port: 80, protocol: tcp", 1), 1, []string{"spec.ports[0].protocol tcp"}},
		"a bad cluster IP":            {strings.Replace(service, "10.96.0.1", "10.96.0.256", 1), 1, []string{"line 4 spec.clusterIPs[0] 10.96.0.256"}},
		"an endpoint of another kind": {strings.Replace(slice, "10.0.0.1", "fd00::1", 1), 1, []string{"line 6 endpoints[0].addresses[0] fd00::1"}},
		"an old version":              {strings.Replace(slice, "/v1", "/v1beta1", 1), 1, []string{"line 1 discovery.k8s.io/v1beta1 did you mean discovery.k8s.io/v1 EndpointSlice"}},
		"a misspelt kind":             {strings.Replace(service, "Service", "Servise", 1), 1, []string{"line 1 Servise did you mean v1 Service"}},
		"a version without a kind":    {"apiVersion: v1\nspec: {ports: [{port: 80}]}\n", 1, []string{"line 1 kind"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "a.yaml"), []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			checker := NewChecker(Default())
			if err := checker.ReadFile(filepath.Join(dir, "a.yaml")); err != nil {
				t.Fatal(err)
			}
			var said []string
			objects := checker.Result()
			for _, o := range objects {
				for _, p := range o.Problems {
					if p.Reason == cluster.InvalidField.Name {
						said = append(said, o.Object+" "+p.Field+" "+p.Message)
					}
				}
			}
			if len(objects) != c.objects || len(said) != len(c.wrong) {
				t.Fatalf("check: %d objects, %q; want %d and %q", len(objects), said, c.objects, c.wrong)
			}
			var refused []string
			if _, err := manifests.Open(dir, func(_, mistake string) {
				if !strings.Contains(mistake, "the rest of the file counts") {
					refused = append(refused, mistake)
				}
			}); err != nil {
				t.Fatal(err)
			}
			if len(refused) != min(1, len(c.wrong)) {
				t.Fatalf("run: %q; want the first of %q", refused, c.wrong)
			}
			for i, words := range c.wrong {
				wantWords(t, "check", said[i], words)
			}
			if len(c.wrong) > 0 {
				wantWords(t, "run", refused[0], c.wrong[0])
			}
		})
	}
}

func wantWords(t *testing.T, who, text, words string) {
	t.Helper()
	for word := range strings.FieldsSeq(words) {
		if !strings.Contains(text, word) {
			t.Errorf("%s: %q does not say %q", who, text, word)
		}
	}
}

// TestCheckPassesOver: a directory for kubectl may hold files that are no objects at all.
func TestCheckPassesOver(t *testing.T) {
	checker := NewChecker(Default())
	if err := checker.Read(
		"kustomization.yaml", strings.NewReader("resources: [web.yaml]\n---\n{}\n---\n# nothing\n"),
	); err != nil {
		t.Fatal(err)
	}
	if all := checker.Result(); len(all) != 0 {
		t.Errorf("%+v; want nothing", all)
	}
	err := checker.Read("a.yaml", strings.NewReader("a: b\n---\nkind: [\n"))
	if err == nil {
		t.Fatal("what is not YAML is read")
	}
	wantWords(t, "check", err.Error(), "a.yaml line document 2")
}
