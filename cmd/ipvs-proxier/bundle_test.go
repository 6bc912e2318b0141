package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// execute runs the program with the arguments, and returns what it prints to both outputs.
func execute(t *testing.T, args ...string) (out, errs string, err error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	root := rootCommand()
	root.SetOut(&stdout)
	root.SetErr(&stderr)
	root.SetArgs(args)
	err = root.ExecuteContext(t.Context())
	return stdout.String(), stderr.String(), err
}

// files returns the contents of an archive by the names of its files.
func files(t *testing.T, archive []byte) map[string]string {
	t.Helper()
	zipped, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for r := tar.NewReader(zipped); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		found[filepath.Base(h.Name)] = string(text)
	}
}

const secretObjects = `
apiVersion: v1
kind: Service
metadata:
  name: web
  annotations: {ipvs-proxier.io/scheduler: lc, example.com/token: hunter2, kubectl.kubernetes.io/last-applied-configuration: hunter2}
spec: {clusterIP: 10.96.0.10, selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}, annotations: {example.com/token: hunter2}}
addressType: IPv4
ports: [{port: 8080}]
endpoints: [{addresses: [10.244.1.1], nodeName: n1, targetRef: {kind: Pod, name: web-1, uid: a8098c1a-f86e-11da-bd1a-00112444be1e}}]
---
apiVersion: v1
kind: Node
metadata: {name: n1, annotations: {example.com/token: hunter2}}
`

// TestBundle: an archive has what the daemon says and the objects, and nothing that is nobody's business; status reads
// it. Without a daemon it says what is missing.
func TestBundle(t *testing.T) {
	dir := t.TempDir()
	manifests := filepath.Join(dir, "manifests")
	if err := os.Mkdir(manifests, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(manifests, "all.yaml"), []byte(secretObjects), 0o600); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../proxier/internal/observe/testdata/page.json")
	if err != nil {
		t.Fatal(err)
	}
	daemon := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/status":
			if r.URL.Query().Get("detail") != "true" {
				t.Errorf("the daemon is asked for %s, without details", r.URL)
			}
			_, _ = w.Write(page)
		case "/journal":
			_ = json.NewEncoder(w).Encode(lastChanges(time.Now()))
		case "/readyz":
			http.Error(w, "too old", http.StatusServiceUnavailable)
		default:
			_, _ = io.WriteString(w, "says "+r.URL.Path)
		}
	}))
	at := strings.TrimPrefix(daemon.URL, "http://")
	options := []string{
		"--manifests", manifests, "--node-name", "n1", "--metrics-bind-address", at, "--healthz-bind-address", at, "--socket",
		"", "--state-dir", "",
	}
	file := filepath.Join(dir, "b.tar.gz")
	out, errs, err := execute(t, append([]string{"bundle", file}, options...)...)
	if err != nil || out != file+"\n" {
		t.Fatalf("%v: %s%s", err, out, errs)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v: anybody may read it: %s", err, info.Mode())
	}
	archive, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	all := files(t, archive)
	for name, want := range map[string]string{
		"status.json": `"shop"`, "metrics.txt": "says /metrics", "livez.txt": "200 OK\nsays /livez",
		"readyz.txt":   "503 Service Unavailable\ntoo old",
		"objects.yaml": "ipvs-proxier.io/scheduler: lc", "config.yaml": "nodeName: n1", "version.json": `"kernel"`,
		"check-node.json": `"`,
		"journal.json":    "IPVSP-CLIENTS", "index.json": `"format": 1`, "README.txt": "status.json",
	} {
		if !strings.Contains(all[name], want) {
			t.Errorf("%s does not hold %q:\n%s", name, want, all[name])
		}
	}
	for name, text := range all {
		if strings.Contains(text, "hunter2") {
			t.Errorf("%s has an annotation that is not ours", name)
		}
	}
	if objects := all["objects.yaml"]; !strings.Contains(objects, "kubernetes.io/service-name: web") ||
		!strings.Contains(objects, "kind: Node") {
		t.Errorf("the objects are not whole:\n%s", objects)
	}

	out, _, err = execute(t, "status", "--bundle", file, "shop/web")
	if err == nil || !strings.Contains(err.Error(), "asks for what cannot be done") ||
		!strings.Contains(out, "by the bundle:") || !strings.Contains(out, "left out: it is not ready") {
		t.Errorf("status of the bundle: %v\n%s", err, out)
	}
	if out, _, err = execute(t, "status", "--bundle", file, "shop/none"); err == nil ||
		!strings.Contains(err.Error(), "no Service shop/none") {
		t.Errorf("of a Service that is not in it: %v\n%s", err, out)
	}

	if out, _, err = execute(t, "journal", "--bundle", file, "shop/web"); err != nil ||
		!strings.Contains(out, "10.244.1.3:8080") || strings.Contains(out, "IPVSP-CLIENTS") {
		t.Errorf("the journal of the bundle: %v\n%s", err, out)
	}

	daemon.Close()
	if _, _, err = execute(t, append([]string{"bundle", file}, options...)...); err == nil ||
		!strings.Contains(err.Error(), "is there already") {
		t.Errorf("a file that is there: %v", err)
	}
	out, errs, err = execute(t, append([]string{"bundle", "-"}, options...)...)
	if err != nil || !strings.Contains(errs, "missing: status.json") {
		t.Fatalf("without a daemon: %v\n%s", err, errs)
	}
	all = files(t, []byte(out))
	if _, is := all["status.json"]; is || !strings.Contains(all["README.txt"], "MISSING: ") || all["objects.yaml"] == "" {
		t.Errorf("without a daemon the archive holds %d files:\n%s", len(all), all["README.txt"])
	}
	dead := filepath.Join(dir, "dead.tar.gz")
	if err := os.WriteFile(dead, []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err = execute(t, "status", "--bundle", dead); err == nil ||
		!strings.Contains(err.Error(), "status.json is missing in the archive: ") {
		t.Errorf("status of an archive without one: %v", err)
	}
}

// TestBundleIsUsedRightly: what makes no sense is wrong use, and no file is left of what fails.
func TestBundleIsUsedRightly(t *testing.T) {
	for line, want := range map[string]string{
		"bundle a b --manifests x":                                          "one FILE at most",
		"bundle --timeout 0s --manifests x":                                 "--timeout",
		"status --bundle b --watch":                                         "--watch has no meaning",
		"status --bundle b --server x:1":                                    "--server has no meaning",
		"explain --bundle b --link x --from 10.0.0.1 --to 10.96.0.1:80":     "--link has no meaning",
		"explain --bundle b --from 10.0.0.1 --to 10.96.0.1:80 --iptables x": "--iptables has no meaning",
	} {
		if _, _, err := execute(t, strings.Fields(line)...); !errors.As(err, new(usageError)) ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want wrong use and %q", line, err, want)
		}
	}
	none := filepath.Join(t.TempDir(), "none")
	for _, line := range []string{"status --bundle " + none, "explain --from 10.0.0.1 --to 10.96.0.1:80 --bundle " +
		none} {
		if _, _, err := execute(t, strings.Fields(line)...); err == nil || errors.As(err, new(usageError)) ||
			!strings.Contains(err.Error(), "no such file") {
			t.Errorf("%s: %v", line, err)
		}
	}
}
