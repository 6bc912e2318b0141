//go:build e2e

package e2e

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// TestBundleIsReadAsTheNodeIs: of an archive, status and explain say what they say of the node when it was made; it
// changes nothing, holds no annotation of others, and is made without a daemon and without an API, too.
func TestBundleIsReadAsTheNodeIs(t *testing.T) {
	c := newCluster(t)
	one, two := c.backend(1, 10, "one"), c.backend(2, 10, "two")
	client := c.pod(1, 50, "client")
	c.write("web.yaml", with(web(nodePort, externalLocal, scheduled("sh"), annotated("example.com/token", "hunter2")),
		one, two))
	c.plan() // which loads modules that the proxier may not load, and goes by in its rules
	c.run("--audit-period", "0s")
	c.awaitRest()
	before := c.sorted()
	dir := t.TempDir()
	make := func(name string, args ...string) (path, said string) {
		t.Helper()
		path = filepath.Join(dir, name)
		said, err := c.Node1.Run(programs.Path("ipvs-proxier"),
			append([]string{"bundle", path, "--node-name", c.Node1.Name, "--cluster-cidr", topology.PodCIDRs}, args...)...)
		if err != nil {
			t.Fatalf("%v: %s", err, said)
		}
		return path, said
	}
	whole, said := make("whole.tar.gz", "--manifests", c.manifests)
	if strings.Contains(said, "missing:") {
		t.Errorf("something is missing beside a proxier that is at rest:\n%s", said)
	}
	list, err := c.Node1.Run("tar", "tzf", whole)
	c.must(err)
	for _, name := range []string{
		"index.json", "README.txt", "version.json", "config.yaml", "status.json", "journal.json", "metrics.txt",
		"healthz.txt", "livez.txt", "readyz.txt", "kernel.txt", "kernel.json", "check-node.txt", "check-node.json",
		"objects.yaml", "plan.txt",
	} {
		if !strings.Contains(list, "/"+name+"\n") {
			t.Errorf("there is no %s:\n%s", name, list)
		}
	}
	inside := func(path, name string) string {
		t.Helper()
		text, err := c.Node1.Run("tar", "xzOf", path, "--wildcards", "*/"+name)
		c.must(err)
		return text
	}
	for name, word := range map[string]string{
		"plan.txt": "nothing to do", "kernel.txt": "virtual-server tcp " + web4.String() + " sh",
		"metrics.txt": "ipvs_proxier_build_info", "readyz.txt": "200 OK", "objects.yaml": "kind: EndpointSlice",
	} {
		if text := inside(whole, name); !strings.Contains(text, word) {
			t.Errorf("%s does not hold %q:\n%s", name, word, text)
		}
	}
	if all := inside(whole, "*"); strings.Contains(all, "hunter2") {
		t.Error("an annotation of others is in it")
	}

	run := func(args ...string) (string, string) {
		text, err := c.Node1.Run(programs.Path("ipvs-proxier"), args...)
		status := "0"
		if err != nil {
			status = err.Error()[strings.LastIndex(err.Error(), "exit status"):]
		}
		return text, status[:min(len(status), len("exit status 1"))]
	}
	for _, args := range [][]string{
		{"status", "-o", "wide"}, {"status"}, {"status", "default/web"}, {"status", "default/none"},
	} {
		live, liveStatus := run(args...)
		read, readStatus := run(append(args, "--bundle", whole)...)
		_, rest, _ := strings.Cut(read, "by the bundle:\n")
		if read = rest; args[len(args)-1] == "default/none" {
			live, read = "", ""
		}
		words := func(text string) (all []string) { // but for what has got older
			for word := range strings.FieldsSeq(text) {
				if !strings.HasSuffix(word, "s") && !strings.HasSuffix(word, "m") {
					all = append(all, word)
				}
			}
			return all
		}
		if diff := cmp.Diff(words(live), words(read)); diff != "" || liveStatus != readStatus {
			t.Errorf("%q ends with %s, of the bundle with %s (-live +bundle):\n%s", args, liveStatus, readStatus, diff)
		}
	}
	explain := func(args ...string) map[string]explained {
		all := map[string]explained{}
		for network, to := range map[string]netip.AddrPort{"tcp": web6, "udp": at(c.Node1.IPv4, webNodePort)} {
			for _, from := range []*topology.Host{client, c.Node1, c.Outside} {
				all[from.Name+" "+network+" "+to.String()] = c.explain(from, network, to, args...)
			}
		}
		return all
	}
	if diff := cmp.Diff(explain(), explain("--bundle", whole)); diff != "" {
		t.Errorf("explain says of the bundle (-live +bundle):\n%s", diff)
	}

	c.proxier.Kill()
	dead, said := make("dead.tar.gz", "--kubeconfig", c.deadKubeconfig(), "--timeout", "2s")
	for _, name := range []string{"status.json", "metrics.txt", "objects.yaml", "plan.txt"} {
		if !strings.Contains(said, "missing: "+name) || !strings.Contains(inside(dead, "README.txt"), name) {
			t.Errorf("without daemon and API it does not say that %s is missing:\n%s", name, said)
		}
	}
	if diff := cmp.Diff(explain(), explain("--bundle", dead)); diff != "" {
		t.Errorf("without daemon and API explain says of the bundle (-live +bundle):\n%s", diff)
	}
	if text, status := run("status", "--bundle", dead); status != "exit status 1" ||
		!strings.Contains(text, "status.json is missing in the archive: ") {
		t.Errorf("status of it ends with %s and says %s", status, text)
	}
	if now := c.sorted(); !cmp.Equal(now, before) {
		t.Errorf("bundle has changed the node:\n%s", cmp.Diff(before, now))
	}
}

// deadKubeconfig names an API server where nobody listens.
func (c *cluster) deadKubeconfig() string {
	path := filepath.Join(c.t.TempDir(), "kubeconfig")
	c.must(os.WriteFile(path, []byte(`{"apiVersion": "v1", "kind": "Config", "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
"clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}], "users": [{"name": "u", "user": {}}]}`), 0o600))
	return path
}
