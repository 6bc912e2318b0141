//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// nodeFinding is one of `check node -o json`.
type nodeFinding struct{ Code, Severity, Found, Consequence, Mend string }

// checkNode runs check node on node1 behind what is run before it, such as confined. It returns what is not right, each
// as "IPX-211 fails", and all findings. The exit status must be 1 where something fails, else 0.
func (c *cluster) checkNode(before []string, args ...string) (wrong []string, all []nodeFinding) {
	c.t.Helper()
	command := append(slices.Clone(before), programs.Path("ipvs-proxier"), "check", "node", "-o", "json", "--node-name",
		"node1", "--cluster-cidr", topology.PodCIDRs,
		"--conntrack-max-per-core=0")
	command = append(command, args...)
	cmd := exec.Command(command[0], command[1:]...)
	var said strings.Builder
	cmd.Stderr = &said
	var out []byte
	err := c.Node1.Do(func() (err error) {
		out, err = cmd.Output()
		return err
	})
	var report struct {
		Verdict  string
		Findings []nodeFinding
	}
	if e := json.Unmarshal(out, &report); e != nil {
		c.t.Fatalf("check node: %v, %v\n%s%s", err, e, out, said.String())
	}
	status := 0
	for _, f := range report.Findings {
		if f.Severity != "ok" {
			wrong = append(wrong, f.Code+" "+f.Severity)
		}
		if f.Severity == "fails" {
			status = 1
		}
	}
	var exit *exec.ExitError
	if got := 0; errors.As(err, &exit) && exit.ExitCode() != status || err == nil && got != status {
		c.t.Errorf("check node ends with %v, want status %d: %s\n%s", err, status, report.Verdict, said.String())
	}
	return wrong, report.Findings
}

// isolated returns a command that runs another one in a mount namespace of its own after a script.
func isolated(script string) []string {
	return []string{"unshare", "--mount", "--propagation", "private", "sh", "-ec", script + "\nexec \"$@\"", "sh"}
}

func modulesLoaded(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/modules")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		names = append(names, strings.Fields(line)[0])
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// moduleLists returns where the kernel's lists of modules are, and whether they are there. Some guests have modules and
// no lists of them: it is not known then of a module that is not loaded whether it can be.
func (c *cluster) moduleLists() (directory string, there bool) {
	c.t.Helper()
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	c.must(err)
	directory = "/lib/modules/" + strings.TrimSpace(string(release))
	_, err = os.Stat(directory + "/modules.dep")
	return directory, err == nil
}

func withoutUnknownModules(wrong []string) []string {
	return slices.DeleteFunc(wrong, func(text string) bool {
		return text >= "IPX-202" && text < "IPX-210" && strings.HasSuffix(text, "unknown")
	})
}

// TestCheckNode makes one fault after the other on node1, and looks whether check node finds it and nothing else. It
// leaves kernel and modules as they are.
func TestCheckNode(t *testing.T) {
	c := newCluster(t)
	manifests := []string{"--manifests", c.manifests}
	lists, listed := c.moduleLists()
	hide := func(module string) []string {
		// The lists without the module; it is not among those that are loaded either, whatever was.
		return isolated(fmt.Sprintf(`d=$(mktemp -d); cp %[1]s/modules.dep %[1]s/modules.builtin $d
			for f in modules.dep modules.builtin; do sed -i '/\/%[2]s\.ko/d' $d/$f; mount --bind $d/$f %[1]s/$f; done
			grep -v '^%[2]s ' /proc/modules > $d/loaded; mount --bind $d/loaded /proc/modules`, lists, module))
	}
	confined := func(capabilities string) []string {
		return []string{programs.Path("confined"), "-capabilities", capabilities}
	}
	before := modulesLoaded(t)
	c.write("web.yaml", with(web(nodePort)))
	expect := func(what string, wrong []string, all []nodeFinding, want ...string) {
		t.Helper()
		if !slices.Equal(wrong, want) {
			t.Errorf("%s: found %v, want %v\n%+v", what, wrong, want, all)
		}
	}
	check := func(what string, behind []string, args []string, want ...string) {
		t.Helper()
		wrong, all := c.checkNode(behind, append(slices.Clone(manifests), args...)...)
		if !listed {
			wrong = withoutUnknownModules(wrong)
		}
		if len(want) > 0 && (want[0] == "IPX-211 fails" || want[0] == "IPX-212 fails") {
			// A process without capabilities cannot read rules of nft, where another test has used it.
			wrong = slices.DeleteFunc(wrong, func(text string) bool { return text == "IPX-222 unknown" })
		}
		expect(what, wrong, all, want...)
	}
	check("a node that is right", nil, nil)
	check("what the DaemonSet's container may", confined("CAP_NET_ADMIN,CAP_NET_RAW"), nil)
	if listed {
		check("a module is missing", hide("ip_set_hash_net"), nil, "IPX-203 fails")
		check("a scheduler is missing", hide("ip_vs_wlc"), []string{"--ipvs-scheduler=wlc"}, "IPX-202 fails")
		check("no lists of modules", isolated("mount -t tmpfs none "+lists+
			"; : > /tmp/none-loaded; mount --bind /tmp/none-loaded /proc/modules; rm -f /tmp/none-loaded"), nil,
			"IPX-202 unknown", "IPX-203 unknown", "IPX-204 unknown", "IPX-205 unknown", "IPX-206 unknown", "IPX-207 unknown",
			"IPX-222 unknown")
	}
	check("no NET_ADMIN", confined("CAP_NET_RAW"), nil, "IPX-211 fails")
	check("no NET_RAW", confined("CAP_NET_ADMIN"), nil, "IPX-211 fails")
	check("a user namespace", []string{"unshare", "--user", "--map-root-user"}, nil, "IPX-212 fails")
	check("read-only parameters", isolated("mount -o bind,ro /proc/sys /proc/sys"), nil, "IPX-213 fails")
	check("masquerade ports over node ports", nil, []string{"--masquerade-ports=1024-65535"}, "IPX-241 fails")
	if _, err := c.Node1.Run("test", "-e", "/proc/net/ip_vs_status"); err != nil { // from Linux 7.1 on it grows
		check("a small table of connections",
			isolated("echo 8 > /tmp/bits; mount --bind /tmp/bits /sys/module/ip_vs/parameters/conn_tab_bits; rm -f /tmp/bits"), nil, "IPX-245 warns")
	}
	check("a directory that is not there", nil, []string{"--manifests", "/no/such"}, "IPX-251 fails", "IPX-241 unknown",
		"IPX-242 unknown")
	if after := modulesLoaded(t); after != before {
		t.Errorf("modules were loaded:\n%s\nbefore:\n%s", after, before)
	}

	run := func(name string, args ...string) {
		t.Helper()
		if out, err := c.Node1.Run(name, args...); err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
	}
	run("sysctl", "-qw", "net.ipv4.ip_local_port_range=1024 60999")
	check("the node's own connections take node ports", nil, nil, "IPX-242 warns")
	run("sysctl", "-qw", "net.ipv4.ip_local_reserved_ports=30000-32767")
	check("and leave them", nil, nil)

	// The other variant has kubelet's chain.
	path, err := exec.LookPath("iptables")
	c.must(err)
	used, err := filepath.EvalSymlinks(path)
	c.must(err)
	other := map[bool]string{true: "iptables-nft", false: "iptables-legacy"}[strings.Contains(used, "legacy")]
	for _, module := range []string{"nf_tables", "nft_compat"} {
		_ = exec.Command("modprobe", module).Run() // a kernel that has it built in needs none
	}
	if out, err := c.Node1.Run(other, "-t", "mangle", "-N", "KUBE-IPTABLES-HINT"); err != nil {
		t.Logf("no variant but one works here: %s: %v %s", other, err, out)
	} else {
		check("the other variant of iptables", nil, nil, "IPX-222 warns")
		run(other, "-t", "mangle", "-X", "KUBE-IPTABLES-HINT")
		run("iptables", "-t", "mangle", "-N", "KUBE-IPTABLES-HINT")
		check("the same variant of iptables", nil, nil)
	}

	// Somebody answers as kube-proxy does.
	end := c.imitate()
	check("kube-proxy is alive", nil, nil, "IPX-232 fails")
	check("kube-proxy is alive, and its end is waited for", nil, []string{"--take-over=kube-proxy"})
	end()

	// A bridge of pods, past iptables.
	for _, line := range []string{
		"link add cni0 type bridge", "link add port0 type dummy", "link set port0 master cni0",
		"addr add 10.244.1.129/25 dev cni0",
	} {
		run("ip", strings.Fields(line)...)
	}
	check("a bridge of pods", nil, nil, "IPX-231 fails")
	if out, err := exec.Command("modprobe", "br_netfilter").CombinedOutput(); err != nil {
		t.Logf("no br_netfilter here: %v %s", err, out)
	} else {
		run("sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1")
		check("a bridge of pods through iptables", nil, nil)
	}
	run("ip", "link", "del", "cni0")

	// While the proxier runs, its ports are its own.
	c.run()
	check("beside the proxier", nil, nil)
}

// TestNothingIsTouchedWithoutCapabilities: run ends with the code of what is missing. Neither kernel parameters nor
// links, rules or sets are other than before.
func TestNothingIsTouchedWithoutCapabilities(t *testing.T) {
	c := newCluster(t)
	c.write("web.yaml", with(web()))
	look := func() string {
		t.Helper()
		out, err := c.Node1.Run("sh", "-c", "sysctl net.ipv4.ip_forward net.ipv4.vs net.ipv6.conf.all.forwarding net.netfilter; ip -o link; iptables-save; ipset list -n; ipvsadm -Ln")
		c.must(err)
		// Counters and times of comments.
		return regexp.MustCompile(`(?m)^#.*\n|nf_conntrack_count = .*\n|\[\d+:\d+\]`).ReplaceAllString(out, "")
	}
	_, err := c.Node1.Run("sysctl", "-qw", "net.ipv4.ip_forward=0")
	c.must(err)
	for capabilities, code := range map[string]string{
		"CAP_NET_RAW": "no CAP_NET_ADMIN", "CAP_NET_ADMIN": "no CAP_NET_RAW",
	} {
		before := look()
		p, err := harness.Start(c.Node1, programs.Path("confined"), "-capabilities", capabilities,
			programs.Path("ipvs-proxier"),
			"run", "--node-name", "node1", "--manifests", c.manifests)
		c.must(err)
		t.Cleanup(p.Kill)
		c.await(func() error {
			if !p.Ended() {
				return errors.New("it has not ended")
			}
			return nil
		})
		if out := p.Output(); !strings.Contains(out, "IPX-211 CapabilityMissing") || !strings.Contains(out, code) {
			t.Errorf("with %s alone it does not say IPX-211 and %q:\n%s", capabilities, code, out)
		}
		if after := look(); after != before {
			t.Errorf("with %s alone something has changed (-before +after):\n%s", capabilities, cmp.Diff(before, after))
		}
	}
}

// TestCheckNodeAsksTheAPI: servers that are away, tokens that are wrong, permissions that are missing, another name.
func TestCheckNodeAsksTheAPI(t *testing.T) {
	c := newCluster(t)
	ctx := t.Context()
	_, client, _ := c.startAPIServer(c.Node1, "RBAC")
	c.deployed(client, "deploy/ipvs-proxier.yaml", func(string, []byte) {})
	token, err := client.CoreV1().ServiceAccounts("ipvs-proxier").CreateToken(ctx, "ipvs-proxier", &authv1.TokenRequest{},
		metav1.CreateOptions{})
	c.must(err)
	c.readyNode(client, "node1")
	dir := t.TempDir()
	_, listed := c.moduleLists()
	kubeconfig := func(name, token string) []string {
		path := filepath.Join(dir, name)
		c.must(os.WriteFile(path, []byte(kubeconfigFor(token)), 0o600))
		return []string{"--kubeconfig", path}
	}
	right := kubeconfig("right", token.Status.Token)
	expect := func(what string, args []string, want ...string) {
		t.Helper()
		wrong, all := c.checkNode(nil, args...)
		if !listed {
			wrong = withoutUnknownModules(wrong)
		}
		if !slices.Equal(wrong, want) {
			t.Errorf("%s: found %v, want %v\n%+v", what, wrong, want, all)
		}
	}
	expect("all is right", right)
	expect("another name", append(right, "--node-name=node9"), "IPX-256 fails")
	expect("one of two servers", append(right, "--api-servers=https://127.0.0.1:6443,https://127.0.0.1:6444"),
		"IPX-252 warns")
	expect("no server", append(right, "--api-servers=https://127.0.0.1:6444"), "IPX-252 fails", "IPX-241 unknown",
		"IPX-242 unknown", "IPX-256 unknown")
	expect("a wrong token", kubeconfig("wrong", "nobody's"), "IPX-253 fails", "IPX-241 unknown", "IPX-242 unknown",
		"IPX-256 unknown")
	// The Service default/kubernetes, as a node has it whose proxy runs.
	c.must(c.Node1.AddDummy("service"))
	c.must(c.Node1.AddAddress("service", netip.MustParsePrefix("10.96.0.1/32")))
	expect("the server is a Service", append(right, "--api-servers=https://10.96.0.1:6443"), "IPX-255 fails")
	c.must(client.RbacV1().ClusterRoles().Delete(ctx, "ipvs-proxier", metav1.DeleteOptions{}))
	c.must(harness.Await(time.Minute, func() error {
		if wrong, _ := c.checkNode(nil, right...); !slices.Contains(wrong, "IPX-254 fails") {
			return fmt.Errorf("%v", wrong)
		}
		return nil
	}))
}
