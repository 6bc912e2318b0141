package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"

	"github.com/ipvs-proxier/ipvs-proxier/proxier"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

const checkedManifests = `apiVersion: v1
kind: Service
metadata:
  name: web
  annotations: {ipvs-proxier.io/scheduler: "http=wlcc,*=rr", ipvs-proxier.io/slow-start: 30s, ipvs-proxier.io/schedular: rr}
spec:
  ports: [{name: http, port: 80}, {name: dns, port: 53, protocol: UDP}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Node
  metadata: {name: n1, annotations: {ipvs-proxier.io/weight: heavy}}
- apiVersion: discovery.k8s.io/v1
  kind: EndpointSlice
  metadata: {name: web-1, labels: {kubernetes.io/service-name: web}, annotations: {ipvs-proxier.io/weight: "70000"}}
  addressType: IPv4
- apiVersion: v1
  kind: Service
  metadata: {name: good, namespace: shop, annotations: {ipvs-proxier.io/scheduler: maglev, ipvs-proxier.io/scheduler-flags: port}}
  spec: {ports: [{port: 80}]}
`

// checked runs check and returns what it prints and its error.
func checked(t *testing.T, args ...string) (string, error) {
	t.Helper()
	c := checkCommand()
	var out strings.Builder
	c.SetOut(&out)
	c.SetErr(&out)
	c.SetIn(strings.NewReader(checkedManifests))
	c.SilenceErrors, c.SilenceUsage = true, true
	c.SetArgs(args)
	err := c.Execute()
	return out.String(), err
}

func TestCheckManifests(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.yaml"), []byte(checkedManifests), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "notes.txt"), []byte("not: [yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"-"}, {dir}, {filepath.Join(dir, "a.yaml")}} {
		got, err := checked(t, args...)
		if err == nil {
			t.Errorf("%v: everything is fine", args)
		}
		for _, words := range []string{
			`Service default/web: InvalidAnnotation: metadata.annotations[ipvs-proxier.io/scheduler] wlcc mean wlc? in force is rr (default)`,
			`Service default/web: AnnotationWithoutEffect ipvs-proxier.io/slow-start needs a scheduler`,
			`Service default/web: UnknownAnnotation ipvs-proxier.io/schedular mean ipvs-proxier.io/scheduler?`,
			`Node n1: InvalidAnnotation ipvs-proxier.io/weight "heavy" 65535`,
			`EndpointSlice default/web-1: InvalidAnnotation ipvs-proxier.io/weight "70000" 65535`,
			`4 objects: 5 problems`,
		} {
			found := false
			for line := range strings.Lines(got) {
				rest, all := line, true
				for word := range strings.FieldsSeq(words) {
					_, after, has := strings.Cut(rest, word)
					rest, all = after, all && has
				}
				found = found || all
			}
			if !found {
				t.Errorf("%v: no line says %s:\n%s", args, words, got)
			}
		}
		if strings.Contains(got, "shop/good") || strings.Contains(got, "Deployment") {
			t.Errorf("%v: reports what is good, or not ours:\n%s", args, got)
		}
	}
	got, _ := checked(t, "--settings", "-")
	if want := "Service shop/good: port 80/tcp: scheduler mh (annotation ipvs-proxier.io/scheduler)\nService shop/good: port 80/tcp: scheduler-flags port (annotation ipvs-proxier.io/scheduler-flags)\n"; !strings.Contains(
		got, want,
	) {
		t.Errorf("settings:\n%s\nwant\n%s", got, want)
	}
	if got, _ := checked(t, "-o", "json", "-"); !strings.Contains(got, `"object": "Node n1"`) {
		t.Errorf("json: %s", got)
	}
}

// TestNamesAreQuoted: what comes from files and from the API cannot move the cursor, colour the terminal or feign a
// line.
func TestNamesAreQuoted(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a\x1b[2J\nb.yaml")
	manifest := `{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web\u001b[2J\n0 problems", "namespace": "\u202e",
"annotations": {"ipvs-proxier.io/\u001b[31m": "", "ipvs-proxier.io/scheduler": "\u001b]0;x\u0007", "kube-router.io/service.scheduler": "\u0000\n"}},
"spec": {"externalIPs": ["\u001b"], "loadBalancerSourceRanges": ["\u001b"], "ports": [{"name": "\u001b", "port": 80, "protocol": "\u001b"}, {"name": "\n", "port": 81}]}}`
	if err := os.WriteFile(file, []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	slice := `{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "\u001b", "annotations": {"ipvs-proxier.io/\n": ""}}}`
	if err := os.WriteFile(filepath.Join(dir, "slice.json"), []byte(slice), 0o600); err != nil {
		t.Fatal(err)
	}
	got, _ := checked(t, "--settings", dir)
	lines := strings.Count(got, "problem")
	for line := range strings.Lines(got) {
		if text := strings.TrimSuffix(line, "\n"); proxier.Printable(text) != text || text == "0 problems" {
			t.Errorf("a line is printed raw: %q", text)
		}
	}
	if !strings.Contains(got, `"Service \u202e/web\x1b[2J\n0 problems"`) || lines == 0 {
		t.Errorf("the Service is not named:\n%s", got)
	}
	annotations, _ := checked(t, "\x1b[2J=3", "scheduler=\x1b")
	if strings.ContainsRune(annotations, 0x1b) {
		t.Errorf("annotations are printed raw: %q", annotations)
	}
}

func TestCheckAnnotations(t *testing.T) {
	for _, c := range []struct {
		arg, want string
		good      bool
	}{
		{"scheduler=Maglev", "ipvs-proxier.io/scheduler=mh", true},
		{"ipvs-proxier.io/scheduler=http=wlc, * = rr", "ipvs-proxier.io/scheduler=http=wlc,*=rr", true},
		{"node/weight=07", "ipvs-proxier.io/weight=7", true},
		{"weight=zone=a:3", "ipvs-proxier.io/weight=zone=a:3", true},
		{"weight=3", "problem: ipvs-proxier.io/weight: ", false},
		{"node/scheduler=rr", "no such key of Nodes", false},
		{"schedular=rr", "did you mean ipvs-proxier.io/scheduler?", false},
		{"scheduler=quickest", "is not allowed", false},
	} {
		got, err := checked(t, c.arg)
		if (err == nil) != c.good || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, %v; want %q, good: %t", c.arg, got, err, c.want, c.good)
		}
	}
	for _, args := range [][]string{{}, {"no-such-file"}, {"-o", "xml", "-"}, {"--config", "no-such-file", "-"}} {
		if _, err := checked(t, args...); err == nil {
			t.Errorf("%q is right use", args)
		}
	}
}

// TestCompletion: shells complete from the tables.
func TestCompletion(t *testing.T) {
	complete := func(args ...string) string {
		root := &cobra.Command{Use: "ipvs-proxier"}
		root.AddCommand(runCommand(), statusCommand(), checkCommand(), convertCommand())
		completeFlags(root)
		var out strings.Builder
		root.SetOut(&out)
		root.SetErr(&strings.Builder{})
		root.SetArgs(append([]string{"__complete"}, args...))
		if err := root.Execute(); err != nil {
			t.Fatal(err)
		}
		return "\n" + out.String()
	}
	for _, word := range scheduler.Words() {
		s, _ := scheduler.Lookup(word)
		if got, want := complete("run", "--ipvs-scheduler", ""), "\n"+word+"\t"+s.Summary+"\n"; !strings.Contains(got, want) {
			t.Errorf("--ipvs-scheduler: no %q in\n%s", want, got)
		}
		if got, want := complete("check", "scheduler=http=rr,*="), "\nscheduler=http=rr,*="+word+"\t"+s.Summary+
			"\n"; !strings.Contains(got, want) {
			t.Errorf("check: no %q in\n%s", want, got)
		}
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"check", ""}, "\nmax-connections=\t"}, {[]string{"check", "no"}, "\nnode/weight=\t"}, {[]string{"check", "one-packet="}, "\none-packet=true\n"},
		{[]string{"check", "expose=node-port,"}, "\nexpose=node-port,cluster-ip\n"}, {[]string{"run", "--log-level", ""}, "\nwarn\n"},
		{[]string{"status", "-o", ""}, "\nyaml\n"}, {[]string{"run", "--take-over", ""}, "\nkube-router\n"}, {[]string{"run", "--watch-nodes", ""}, "\nown\n"}, {[]string{"run", "--vip-mode", ""}, "\nroute\n"},
	} {
		if got := complete(c.args...); !strings.Contains(got, c.want) {
			t.Errorf("%q: no %q in\n%s", c.args, c.want, got)
		}
	}
}

// TestCheckAndPipes: a pipe that is named is read, as that of a shell's process substitution, which has no path of its
// own; one that lies in a directory is named, and not waited for.
func TestCheckAndPipes(t *testing.T) {
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	go func() {
		defer writer.Close()
		io.WriteString(writer, checkedManifests)
	}()
	if out, _ := checked(t, fmt.Sprintf("/dev/fd/%d", reader.Fd())); !strings.Contains(out, "4 objects") {
		t.Errorf("of a pipe: %s", out)
	}
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "a.yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := checked(t, dir); err == nil || !strings.Contains(err.Error(), "a.yaml: it is a FIFO") {
		t.Errorf("a directory with a FIFO: %v", err)
	}
}
