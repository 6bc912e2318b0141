package manifests

import (
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ipvs-proxier/ipvs-proxier/internal/document"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
)

const goodSlice = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a}\naddressType: IPv4\nports: [{port: 80}]\nendpoints: [{addresses: [10.0.0.1]}]\n"

func TestRead(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want string // the objects with their lines
	}{
		"nothing":                 {"", ""},
		"comments":                {"# a\n---\n# b\n---\n", ""},
		"several":                 {"\n" + serviceText("a", 1) + "---\n# about b\n" + serviceText("b", 2) + "---\n" + goodSlice, "Service default/a 2, Service default/b 8, EndpointSlice default/a 13"},
		"JSON":                    {`{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}`, "Node n1 1"},
		"a list":                  {"apiVersion: v1\nkind: List\nitems:\n- " + strings.ReplaceAll(strings.TrimSpace(serviceText("a", 1)), "\n", "\n  ") + "\n", "Service default/a 1"},
		"an item without a type":  {"apiVersion: v1\nkind: NodeList\nitems: [{metadata: {name: n1}}, {metadata: {name: n2}}]\n", "Node n1 1, Node n2 1"},
		"a separator's comment":   {serviceText("a", 1) + "--- # b\n" + serviceText("b", 1), "Service default/a 1, Service default/b 6"},
		"behind the separator":    {serviceText("a", 1) + "--- " + `{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}`, "Service default/a 1, Node n1 5"},
		"lines that begin alike":  {"apiVersion: v1\nkind: Node\nmetadata: {name: n1, annotations: {a: b\n---c}}\n", "Node n1 1"},
		"a separator with spaces": {serviceText("a", 1) + "---  \n" + serviceText("b", 1), "Service default/a 1, Service default/b 6"},
		"Windows line ends":       {strings.ReplaceAll(serviceText("a", 1)+"---\n"+serviceText("b", 1), "\n", "\r\n"), "Service default/a 1, Service default/b 6"},
		"headless":                {"apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {clusterIP: None}\n", "Service default/a 1"},
	} {
		t.Run(name, func(t *testing.T) {
			objects, note, err := readable([]byte(c.text))
			if err != nil || note != "" {
				t.Fatal(err, note)
			}
			var got []string
			for _, o := range objects {
				got = append(got, o.key.String()+" "+strconv.Itoa(o.Line))
			}
			if text := strings.Join(got, ", "); text != c.want {
				t.Errorf("%q, want %q", text, c.want)
			}
		})
	}
}

// TestKindsAreOfTheirGroup: a kind of another group is somebody else's business, also where its name is that of a kind
// that is read, or like it.
func TestKindsAreOfTheirGroup(t *testing.T) {
	others := []string{
		"serving.knative.dev/v1 Service", "example.com/v1 Node", "example.com/v1 ServiceList", "apps/v1 DeploymentList",
		"apps/v1 Nodes", "networking.k8s.io/v1 ServiceCIDR",
	}
	for _, kind := range strings.Fields("Binding ComponentStatus ConfigMap Endpoints Event LimitRange Namespace PersistentVolume PersistentVolumeClaim Pod PodTemplate " +
		"ReplicationController ResourceQuota Secret ServiceAccount") {
		others = append(others, "v1 "+kind, "v1 "+kind+"List")
	}
	for _, other := range others {
		version, kind, _ := strings.Cut(other, " ")
		for _, rest := range []string{"spec: {template: {}}", "items: {a: b}", "items: [{metadata: 7}]"} {
			text := "apiVersion: " + version + "\nkind: " + kind + "\nmetadata: {name: b}\n" + rest + "\n---\n" +
				serviceText("a", 1)
			objects, note, err := readable([]byte(text))
			if err != nil || len(objects) != 1 || objects[0].String() != "Service default/a" ||
				!strings.Contains(note, "line 1: "+kind+" b is not read here") {
				t.Errorf("%s, %s: %v, note %q, %v; want the Service beside it", other, rest, objects, note, err)
			}
		}
	}
	for _, mistaken := range []string{
		"v1beta1 Service", "v1 EndpointSlice", "discovery.k8s.io/v1 Service", "discovery.k8s.oi/v1 EndpointSlice",
		"v1 service", "v1 Nodes", "v2 ServiceList", "v1 \"\"", "\"\" Service",
	} {
		version, kind, _ := strings.Cut(mistaken, " ")
		if objects, note, err := readable([]byte("apiVersion: " + version + "\nkind: " + kind + "\n")); err == nil {
			t.Errorf("%s: %v, note %q; want a mistake", mistaken, objects, note)
		}
	}
}

// TestMistakesAreLocated: each says where it is, of which object and which field, and one does not hide the others.
func TestMistakesAreLocated(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []string // line, document, object, field
	}{
		"in a block": {"# about a\n" + `apiVersion: v1
kind: Service
metadata:
  name: a
spec:
  clusterIP: none
  ports:
  - port: 80
  - port: 0
    protocl: UDP
`, []string{"11 1 Service default/a spec.ports[1].protocl", "7 1 Service default/a spec.clusterIPs[0]", "10 1 Service default/a spec.ports[1].port"}},
		"of another type": {serviceText("a", 1) + "---\n\n" + `kind: Service
apiVersion: v1
metadata: {name: b, namespace: ns}
spec:
  selector: {a: "port"}
  ports:
  - {port: 80}
  - name: b
    port: "81"
`, []string{"15 2 Service ns/b spec.ports[1].port"}},
		"a list where a map belongs": {"apiVersion: v1\nkind: Node\nmetadata:\n  name: n1\n  labels:\n  - a\n", []string{"5 1 Node n1 metadata.labels"}},
		"in an item": {"---\n" + `apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Node
  metadata: {name: n1}
- apiVersion: discovery.k8s.io/v1
  kind: EndpointSlice
  metadata: {name: s}
  addressType: IPv6
  endpoints:
  - addresses: [fd00::1]
  - addresses:
    - fd00::2
    - 10.0.0.1
- apiVersion: v1
  kind: Service
  spec: {ports: []}
`, []string{"16 1 EndpointSlice default/s endpoints[1].addresses[1]", "17 1 items[2] Service metadata.name", "19 1 items[2] Service spec.ports"}},
		"at an anchor": {`apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Service
  metadata: {name: a}
  spec: &spec
    ports:
    - port: 70000
- apiVersion: v1
  kind: Service
  metadata: {name: b}
  spec: *spec
`, []string{"9 1 Service default/a spec.ports[0].port", "9 1 Service default/b spec.ports[0].port"}},
		"in JSON":      {"{\"apiVersion\": \"v1\", \"kind\": \"Service\",\n\"metadata\": {\"name\": \"a\"},\n\"spec\": {\n\"ports\": [{\"port\": 1, \"nodePort\": -1}]}}", []string{"4 1 Service default/a spec.ports[0].nodePort"}},
		"a list":       {"apiVersion: v1\nkind: List\nitems: {a: b}\n", []string{"3 1 List items"}},
		"no object":    {"apiVersion: v1\nkind: List\nitems:\n- a\n", []string{"4 1 items[0] "}},
		"too large":    {serviceText("a", 0)[:strings.Index(serviceText("a", 0), "spec")] + "#" + strings.Repeat(" ", document.Locatable) + "\nspec: {port: 80}\n", []string{"1 1 Service default/a spec.port", "1 1 Service default/a spec.ports"}},
		"a dotted key": {"apiVersion: v1\nkind: Node\nmetadata:\n  name: n1\n  annotations:\n    example.com/a.b: c\n    example.com/a: [1]\n", []string{"7 1 Node n1 metadata.annotations.example.com/a"}},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := Read([]byte(c.text))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, o := range found {
				for _, m := range o.Mistakes {
					got = append(got, strconv.Itoa(m.Line)+" "+strconv.Itoa(m.Document)+" "+m.Object+" "+m.Field)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestMistakesAreBounded: of a file that is wrong all over, as many mistakes are reported as of one object.
func TestMistakesAreBounded(t *testing.T) {
	found, err := Read([]byte("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [" +
		strings.Repeat("{port: 0}, ", 10*budget.Problems) + "]}"))
	if err != nil || len(found) != 1 || len(found[0].Mistakes) != budget.Problems {
		t.Errorf("%d objects, %v; want one with %d mistakes", len(found), err, budget.Problems)
	}
}

// TestOtherKinds are left out, and the first one is named.
func TestOtherKinds(t *testing.T) {
	text := "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a, namespace: ns}\n---\n" + serviceText("a", 1) +
		"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n"
	objects, note, err := readable([]byte(text))
	if err != nil || len(objects) != 1 || objects[0].Line != 5 {
		t.Errorf("%+v, %v; want the Service in line 5", objects, err)
	}
	if !strings.Contains(note, "line 1: Deployment ns/a") || !strings.Contains(note, "rest of the file counts") {
		t.Errorf("note %q", note)
	}
}

// TestReadRefuses says in which line what is wrong.
func TestReadRefuses(t *testing.T) {
	change := func(text, from, to string) string {
		if !strings.Contains(text, from) {
			t.Fatalf("%q does not contain %q", text, from)
		}
		return strings.Replace(text, from, to, 1)
	}
	service := serviceText("a", 1)
	for name, c := range map[string]struct{ text, says string }{
		"no YAML":              {service + "---\nkind: [\n", "line 6 did not find expected node content"},
		"twice in one map":     {"apiVersion: v1\napiVersion: v1\n", "line 2 apiVersion already set"},
		"a misspelt kind":      {"apiVersion: v1\nkind: Servise\n", "line 1 v1 Servise not read here did you mean v1 Service? v1 Service"},
		"a kind of old":        {"apiVersion: discovery.k8s.io/v1beta1\nkind: EndpointSlice\n", "line 1 discovery.k8s.io/v1beta1 EndpointSlice discovery.k8s.io/v1"},
		"no kind":              {"a: b\n", "line 1 kind"},
		"not an object":        {"- a\n", "line 1 not a Kubernetes object"},
		"an unknown field":     {change(service, "clusterIP", "clusterip"), "line 4 unknown field spec.clusterip"},
		"of another type":      {change(service, "port: 80", "port: eighty"), "line 4 Service a spec.ports[0].port string int32"},
		"no name":              {change(service, "name: a", "namespace: a"), "line 1 metadata.name is missing"},
		"no ports":             {change(service, "[{port: 80}]", "[]"), "Service default/a spec.ports at least one"},
		"a bad address":        {change(service, "10.96.0.1", "10.96.0.256"), "spec.clusterIPs[0] 10.96.0.256"},
		"a bad port":           {change(service, "port: 80", "port: 65536"), "spec.ports[0].port 65536 1 and 65535"},
		"a bad node port":      {change(service, "port: 80", "port: 80, nodePort: -1"), "spec.ports[0].nodePort -1"},
		"a bad protocol":       {change(service, "port: 80", "port: 80, protocol: tcp"), "spec.ports[0].protocol tcp TCP, UDP or SCTP"},
		"a bad address type":   {change(goodSlice, "IPv4", "ipv4"), "EndpointSlice default/a addressType ipv4"},
		"a bad endpoint":       {change(goodSlice, "10.0.0.1", "fd00::1"), "endpoints[0].addresses[0] fd00::1 IPv4"},
		"a bad slice port":     {change(goodSlice, "port: 80", "port: 0"), "ports[0].port 0"},
		"in the second of two": {service + "---\n\n" + change(service, "ports", "port"), "line 10 unknown field spec.port"},
	} {
		t.Run(name, func(t *testing.T) {
			objects, _, err := readable([]byte(c.text))
			if err == nil {
				t.Fatalf("taken for good: %+v", objects)
			}
			for word := range strings.FieldsSeq(c.says) {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q does not say %q", err, word)
				}
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	for _, text := range []string{
		"", "---", serviceText("a", 1), goodSlice, "a: &a [*a]", "kind: List\napiVersion: v1\nitems: [1]", "\x00", "{",
		"apiVersion: v1\nkind: Service\nspec: {ports: [{}]}",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		found, _ := Read(text)
		for _, o := range found {
			for _, m := range o.Mistakes {
				if m.Line < 1 || m.Line > 1+strings.Count(string(text), "\n") || m.Document < 1 {
					t.Errorf("%+v", m)
				}
			}
		}
		objects, _, err := readable(text)
		if err != nil {
			if objects != nil || !strings.HasPrefix(err.Error(), "line ") {
				t.Errorf("%d objects beside the error %v", len(objects), err)
			}
			return
		}
		for _, o := range objects {
			if o.key.name.Name == "" || o.Line < 1 || o.Value == nil {
				t.Errorf("%+v", o)
			}
		}
	})
}
