package manifests

import (
	"strings"
	"testing"
)

const goodSlice = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a}\naddressType: IPv4\nports: [{port: 80}]\nendpoints: [{addresses: [10.0.0.1]}]\n"

func TestParse(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want string // the objects with their lines
	}{
		"nothing":                 {"", ""},
		"comments":                {"# a\n---\n# b\n---\n", ""},
		"several":                 {"\n" + serviceText("a", 1) + "---\n# about b\n" + serviceText("b", 2) + "---\n" + goodSlice, "Service default/a 2, Service default/b 8, EndpointSlice default/a 13"},
		"JSON":                    {`{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}`, "Node n1 1"},
		"a list":                  {"apiVersion: v1\nkind: List\nitems:\n- " + strings.ReplaceAll(strings.TrimSpace(serviceText("a", 1)), "\n", "\n  ") + "\n", "Service default/a 1"},
		"a separator with spaces": {serviceText("a", 1) + "---  \n" + serviceText("b", 1), "Service default/a 1, Service default/b 6"},
		"Windows line ends":       {strings.ReplaceAll(serviceText("a", 1)+"---\n"+serviceText("b", 1), "\n", "\r\n"), "Service default/a 1, Service default/b 6"},
		"headless":                {"apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {clusterIP: None}\n", "Service default/a 1"},
	} {
		t.Run(name, func(t *testing.T) {
			objects, note, err := parse([]byte(c.text))
			if err != nil || note != "" {
				t.Fatal(err, note)
			}
			var got []string
			for _, o := range objects {
				got = append(got, o.key.String()+" "+itoa(o.line))
			}
			if text := strings.Join(got, ", "); text != c.want {
				t.Errorf("%q, want %q", text, c.want)
			}
		})
	}
}

// TestOtherKinds are left out, and the first one is named.
func TestOtherKinds(t *testing.T) {
	text := "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a, namespace: ns}\n---\n" + serviceText("a", 1) + "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n"
	objects, note, err := parse([]byte(text))
	if err != nil || len(objects) != 1 || objects[0].line != 5 {
		t.Errorf("%+v, %v; want the Service in line 5", objects, err)
	}
	if !strings.Contains(note, "line 1: Deployment ns/a") || !strings.Contains(note, "rest of the file counts") {
		t.Errorf("note %q", note)
	}
}

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + itoa(n%10)
}

// TestParseRefuses says in which line what is wrong.
func TestParseRefuses(t *testing.T) {
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
		"a misspelt kind":      {"apiVersion: v1\nkind: Servise\n", "line 1 v1 Servise not read here v1 Service"},
		"a kind of old":        {"apiVersion: discovery.k8s.io/v1beta1\nkind: EndpointSlice\n", "line 1 discovery.k8s.io/v1beta1 EndpointSlice discovery.k8s.io/v1"},
		"no kind":              {"a: b\n", "line 1 kind"},
		"not an object":        {"- a\n", "line 1 not a Kubernetes object"},
		"an unknown field":     {change(service, "clusterIP", "clusterip"), "line 4 unknown field spec.clusterip"},
		"of another type":      {change(service, "port: 80", "port: eighty"), "line 1 Service"},
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
			objects, _, err := parse([]byte(c.text))
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

func FuzzParse(f *testing.F) {
	for _, text := range []string{"", "---", serviceText("a", 1), goodSlice, "a: &a [*a]", "kind: List\napiVersion: v1\nitems: [1]", "\x00", "{", "apiVersion: v1\nkind: Service\nspec: {ports: [{}]}"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		objects, _, err := parse(text)
		if err != nil {
			if objects != nil || !strings.HasPrefix(err.Error(), "line ") {
				t.Errorf("%d objects beside the error %v", len(objects), err)
			}
			return
		}
		for _, o := range objects {
			if o.key.name.Name == "" || o.line < 1 || o.value == nil {
				t.Errorf("%+v", o)
			}
		}
	})
}
