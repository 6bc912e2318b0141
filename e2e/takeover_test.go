//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// imitate answers on node1 as kube-proxy does there, and returns its end.
func (c *cluster) imitate() (end func()) {
	c.t.Helper()
	var listener net.Listener
	c.must(c.Node1.Do(func() (err error) {
		listener, err = net.Listen("tcp", "127.0.0.1:10249")
		return err
	}))
	mux := http.NewServeMux()
	mux.HandleFunc("/proxyMode", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ipvs") })
	server := &http.Server{Handler: mux}
	go server.Serve(listener)
	c.t.Cleanup(func() { server.Close() })
	return func() { c.must(server.Close()) }
}

// awaitOutput waits until the proxier has said the text.
func (c *cluster) awaitOutput(text string) {
	c.t.Helper()
	c.await(func() error {
		if output := c.proxier.Output(); !strings.Contains(output, text) {
			return fmt.Errorf("the proxier has not said %q:\n%s", text, output)
		}
		return nil
	})
}

// refused fails the test unless the program ends with status 1 and says the texts.
func refused(t *testing.T, p *harness.Proxier, texts ...string) {
	t.Helper()
	err := harness.Await(20*time.Second, func() error {
		if !p.Ended() {
			return errors.New("it runs")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	exit := &exec.ExitError{}
	if err := p.Signal(syscall.Signal(0)); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("it ended with %v, want exit status 1", err)
	}
	for _, text := range texts {
		if !strings.Contains(p.Output(), text) {
			t.Errorf("it did not say %q:\n%s", text, p.Output())
		}
	}
}

// TestOnlyOneProxy: run refuses to start beside a living kube-proxy and beside itself, writes nothing, and says how to
// go on.
func TestOnlyOneProxy(t *testing.T) {
	c := newCluster(t)
	c.write("web.yaml", with(web(), c.backend(1, 10, "one")))
	before := c.dataplane()
	end := c.imitate()
	for _, args := range [][]string{nil, {"--take-over", "kube-router"}} {
		c.start(append([]string{"--manifests", c.manifests}, args...)...)
		refused(t, c.proxier, "kube-proxy is alive", "http://127.0.0.1:10249/proxyMode", "--take-over=kube-proxy",
			"kubectl -n kube-system delete daemonset kube-proxy", "convert")
	}
	if now := c.dataplane(); now != before {
		t.Errorf("it wrote:\n%s", now)
	}
	end()
	c.run()
	first := c.proxier
	c.start("--manifests", c.manifests)
	refused(t, c.proxier, "another ipvs-proxier (pid ")
	if first.Ended() {
		t.Error("the first one has ended")
	}
}

// TestWaitsForItsPredecessor: with --take-over nothing is written while the predecessor lives, and its rules go
// afterwards (B53: its sets have parameters here that are neither kube-proxy's nor ours).
func TestWaitsForItsPredecessor(t *testing.T) {
	c := newCluster(t)
	client := c.pod(1, 50, "client")
	c.write("web.yaml", with(web(nodePort), c.backend(1, 10, "one")))
	end := c.imitate()
	stale := at(c.Node1.IPv4, 30999).String()
	_, err := c.Node1.Run("sh", "-ec", `
ipset create KUBE-CLUSTER-IP hash:net maxelem 10 comment; ipset create KUBE-6-IPVS-IPS hash:ip family inet6; ipset create KUBE-NODE-PORT-TCP bitmap:port range 0-65535
ipset add KUBE-NODE-PORT-TCP 30999; ipvsadm -A -t `+stale+` -s rr; ipvsadm -A -t 10.96.7.7:80 -s rr
iptables -t nat -N KUBE-SERVICES; iptables -t nat -A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
ip6tables -N KUBE-IPVS-FILTER; ip6tables -A INPUT -m comment --comment "kubernetes ipvs access filter" -j KUBE-IPVS-FILTER
ip6tables -A KUBE-IPVS-FILTER -m set --match-set KUBE-6-IPVS-IPS dst -j REJECT`)
	c.must(err)
	before := c.dataplane()
	c.start("--manifests", c.manifests, "--take-over", "kube-proxy")
	c.awaitOutput("waiting for the end of the predecessor")
	if now := c.dataplane(); now != before {
		t.Errorf("it wrote while kube-proxy lived:\n%s", now)
	}
	end()
	c.must(c.proxier.AwaitReady())
	c.awaitOutput("took the place of the predecessor")
	now := c.dataplane()
	for _, gone := range []string{"KUBE-", stale} {
		if strings.Contains(now, gone) {
			t.Errorf("%s is left:\n%s", gone, now)
		}
	}
	if !strings.Contains(now, "10.96.7.7:80") {
		t.Error("somebody else's virtual server is gone")
	}
	for _, to := range []netip.AddrPort{web4, web6, at(c.Node1.IPv4, webNodePort)} {
		c.ask(client, "tcp", to)
	}
	c.must(c.proxier.Stop())
	c.again()
	c.awaitOutput("removed=nothing")
}

// TestTellsOfLeftovers (B52): rules that kube-proxy's iptables mode has left are logged and left alone, and do no harm:
// connections that they have led stay, new ones are ours. --take-over removes them.
func TestTellsOfLeftovers(t *testing.T) {
	c := newCluster(t)
	client := c.pod(1, 50, "client")
	c.write("web.yaml", with(web(), c.backend(1, 10, "one")))
	c.backend(1, 99, "old")
	_, err := c.Node1.Run("sh", "-ec", `
for chain in KUBE-SERVICES KUBE-SVC-ABCDEFGHIJKLMNOP KUBE-SEP-ABCDEFGHIJKLMNOP; do iptables -t nat -N $chain; done
iptables -t nat -A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
iptables -t nat -A KUBE-SERVICES -d 10.96.0.10/32 -p tcp --dport 80 -j KUBE-SVC-ABCDEFGHIJKLMNOP
iptables -t nat -A KUBE-SVC-ABCDEFGHIJKLMNOP -j KUBE-SEP-ABCDEFGHIJKLMNOP
iptables -t nat -A KUBE-SEP-ABCDEFGHIJKLMNOP -p tcp -j DNAT --to-destination 10.244.1.99:8080`)
	c.must(err)
	held := c.hold(client, web4, 2)
	check := func(after string) {
		t.Helper()
		stillUsable(t, held, after)
		for range 4 {
			if id := c.ask(client, "tcp", web4).ID; id != "one" {
				t.Errorf("after %s %s answers, want one", after, id)
			}
		}
	}
	c.run()
	c.awaitOutput("--take-over=kube-proxy")
	c.awaitOutput("3 chains, 1 rules in chains of others")
	check("the start")
	if !strings.Contains(c.dataplane(), "-A KUBE-SERVICES -d 10.96.0.10/32") {
		t.Error("the leftovers are gone without --take-over")
	}
	c.must(c.proxier.Stop())
	c.run("--take-over", "kube-proxy")
	c.awaitOutput("took the place of the predecessor")
	check("the removal")
	if strings.Contains(c.dataplane(), "KUBE-") {
		t.Error("the leftovers are still there")
	}
}

// sorted is the dataplane with its lines in order, because the kernel lists real servers in the order in which they
// came, and without what is remembered of an address for the moment in which it was added.
func (c *cluster) sorted() []string {
	c.t.Helper()
	lines := strings.Split(strings.ReplaceAll(c.dataplane(), " nodad", ""), "\n")
	slices.Sort(lines)
	return lines
}

// awaitRest waits until the proxier has nothing more to do of its own accord: no real server drains, which would have
// the weight 0, and nothing is to be tried again.
func (c *cluster) awaitRest() {
	c.t.Helper()
	c.await(func() error {
		if n, err := c.proxier.Metric("ipvs_proxier_pending_retries"); err != nil {
			return err
		} else if n > 0 {
			return fmt.Errorf("%v Services are to be tried again", n)
		}
		for _, line := range c.sorted() {
			if strings.HasSuffix(line, " -w 0") {
				return fmt.Errorf("it drains: %s", line)
			}
		}
		return nil
	})
}

// sameAsFresh fails the test unless the dataplane, once what drains is gone, is what a start on a clean node makes.
func (c *cluster) sameAsFresh(args ...string) {
	c.t.Helper()
	c.awaitRest()
	taken := c.sorted()
	c.must(c.proxier.Stop())
	if output, err := programs.Cleanup(c.Node1); err != nil {
		c.t.Fatal(err, output)
	}
	c.start(args...)
	c.must(c.proxier.AwaitReady())
	fresh := c.sorted()
	for _, line := range without(taken, fresh) {
		c.t.Errorf("only where it was taken over: %s", line)
	}
	for _, line := range without(fresh, taken) {
		c.t.Errorf("only after a start on a clean node: %s", line)
	}
}

// without returns the lines that others have not, or fewer times.
func without(lines, others []string) (left []string) {
	others = slices.Clone(others)
	for _, line := range lines {
		if i := slices.Index(others, line); i >= 0 {
			others[i] = "" // taken; the lines of both are sorted, and empty ones say nothing
		} else if line != "" {
			left = append(left, line)
		}
	}
	return left
}

// startKubeProxy starts the real kube-proxy in ipvs mode on the node.
func (c *cluster) startKubeProxy(node *topology.Host, kubeconfig string) *harness.Process {
	c.t.Helper()
	return c.startKubeProxyIn("ipvs", node, kubeconfig)
}

// startKubeProxyIn starts the real kube-proxy on the node in a mode of it. For nftables the kernel must have nf_tables,
// and the machine nft. more are flags of it.
func (c *cluster) startKubeProxyIn(
	mode string, node *topology.Host, kubeconfig string, more ...string,
) *harness.Process {
	c.t.Helper()
	p, err := harness.Start(node, filepath.Join(peers, "kube-proxy"),
		append([]string{"--kubeconfig", kubeconfig, "--proxy-mode", mode, "--hostname-override", node.Name,
			"--cluster-cidr", topology.PodCIDRs, "--ipvs-scheduler", "rr", "--conntrack-max-per-core", "0", "--conntrack-min",
			"0"}, more...)...)
	c.must(err)
	c.t.Cleanup(func() {
		p.Kill()
		if c.t.Failed() {
			c.t.Logf("log of kube-proxy:\n%s", p.Output())
		}
	})
	return p
}

// TestTakeOverFromKubeProxy: the real kube-proxy in ipvs mode is killed under load, a Service goes, and ipvs-proxier
// starts in its place. No request fails and no connection breaks; nothing of kube-proxy's is left, the Service's node
// port included.
func TestTakeOverFromKubeProxy(t *testing.T) {
	c := newCluster(t)
	ctx := t.Context()
	client := c.pod(1, 50, "client")
	one, two := c.backend(1, 10, "one"), c.backend(2, 10, "two")
	kubeconfig, api, _ := c.startAPIServer(c.Node1)
	node := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: c.Node1.Name}}
	made, err := api.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
	c.must(err)
	made.Status.Addresses = []v1.NodeAddress{
		{Type: v1.NodeInternalIP, Address: c.Node1.IPv4.String()}, {Type: v1.NodeInternalIP, Address: c.Node1.IPv6.String()},
	}
	_, err = api.CoreV1().Nodes().UpdateStatus(ctx, made, metav1.UpdateOptions{})
	c.must(err)
	dual := v1.IPFamilyPolicyRequireDualStack
	create := func(s *v1.Service, pods ...*topology.Host) {
		t.Helper()
		s.Spec.IPFamilyPolicy = &dual
		_, err := api.CoreV1().Services("default").Create(ctx, s, metav1.CreateOptions{})
		c.must(err)
		for _, slice := range endpointSlices(s, pods...) {
			_, err := api.DiscoveryV1().EndpointSlices("default").Create(ctx, slice, metav1.CreateOptions{})
			c.must(err)
		}
	}
	create(web(nodePort), one, two)
	gone := service("gone", []string{"10.96.0.30", "fd00:10:96::30"}, nodePort, func(s *v1.Service) {
		for i := range s.Spec.Ports {
			s.Spec.Ports[i].NodePort = webNodePort + 1
		}
	})
	create(gone, one)

	start := func() *harness.Process { return c.startKubeProxy(c.Node1, kubeconfig) }
	kubeProxy := start()
	np4, np6 := at(c.Node1.IPv4, webNodePort), at(c.Node1.IPv6, webNodePort)
	for _, ask := range []struct {
		from *topology.Host
		to   netip.AddrPort
	}{{client, web4}, {client, web6}, {
		c.Outside, np4,
	}, {c.Outside, np6}, {c.Outside, at(c.Node1.IPv4, webNodePort+1)}, {c.Outside, at(c.Node1.IPv6, webNodePort+1)}} {
		c.must(harness.Await(2*time.Minute, func() error {
			if kubeProxy.Ended() {
				t.Fatal("kube-proxy has ended")
			}
			// kube-proxy masquerades a while after it serves: both endpoints must answer, twice.
			for range 4 {
				if _, err := harness.Ask(ask.from, "tcp", ask.to); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	held := slices.Concat(c.hold(client, web4, 4), c.hold(client, web6, 2), c.hold(c.Outside, np4, 4),
		c.hold(c.Outside, np6, 2))
	loads := []*harness.Load{
		c.startLoad(client, "--mode", "crr", "--rate", "20", "--duration", "40s", "--timeout", lossTimeout.String(),
			"tcp://"+web4.String()),
		c.startLoad(c.Outside, "--mode", "crr", "--rate", "20", "--duration", "40s", "--timeout", lossTimeout.String(),
			"tcp://"+np6.String()),
		c.startLoad(c.Outside, "--mode", "udp-rr", "--rate", "10", "--duration", "40s", "--timeout", lossTimeout.String(),
			"udp://"+np4.String()),
	}
	args := []string{"--kubeconfig", kubeconfig}
	c.start(args...)
	refused(t, c.proxier, "kube-proxy is alive", "mode ipvs", "--take-over=kube-proxy")

	kubeProxy.Kill()
	c.must(api.CoreV1().Services("default").Delete(ctx, gone.Name, metav1.DeleteOptions{}))
	for _, slice := range endpointSlices(gone, one) {
		c.must(api.DiscoveryV1().EndpointSlices("default").Delete(ctx, slice.Name, metav1.DeleteOptions{}))
	}
	stillUsable(t, held, "kube-proxy's end")
	c.start(append(args, "--take-over", "kube-proxy")...)
	c.must(c.proxier.AwaitReady())
	c.awaitOutput("took the place of the predecessor")
	stillUsable(t, held, "the take-over")
	for _, l := range loads {
		r, err := l.Wait()
		c.must(err)
		withoutErrors(t, r)
	}
	stillUsable(t, held, "all")
	if now := c.dataplane(); strings.Contains(now, "KUBE-") || strings.Contains(now, fmt.Sprint(webNodePort+1)) {
		t.Errorf("kube-proxy has left:\n%s", now)
	}
	for _, conn := range held {
		conn.Close()
	}
	c.sameAsFresh(args...)

	// The way back (B53): kube-proxy adopts what carries connections, and the hand-over leaves it that.
	np := at(c.Node1.IPv4, webNodePort)
	held = slices.Concat(c.hold(client, web4, 4), c.hold(client, web6, 2), c.hold(c.Outside, np, 4))
	c.must(c.proxier.Stop())
	if output, err := programs.Cleanup(c.Node1, "--hand-over"); err == nil ||
		!strings.Contains(err.Error()+output, "no living kube-proxy") {
		t.Errorf("hand-over to nobody: %v, %s", err, output)
	}
	stillUsable(t, held, "our end")
	start()
	c.must(harness.Await(2*time.Minute, func() error {
		_, err := programs.Cleanup(c.Node1, "--hand-over")
		return err
	}))
	if output, err := programs.Cleanup(c.Node1); err == nil ||
		!strings.Contains(err.Error()+output, "kube-proxy is alive") {
		t.Errorf("cleanup beside kube-proxy: %v, %s", err, output)
	}
	stillUsable(t, held, "the hand-over")
	c.must(harness.Await(2*time.Minute, func() error { _, err := harness.Ask(client, "tcp", web4); return err }))
	if now := c.dataplane(); strings.Contains(now, "IPVSP-") || !strings.Contains(now, "KUBE-CLUSTER-IP") {
		t.Errorf("the way back to kube-proxy ends in\n%s", now)
	}
	for _, conn := range held {
		conn.Close()
	}
}

// TestTakeOverFromKubeRouter: what kube-router has in the kernel, made by hand, is taken over under load: its link,
// with the addresses, goes when ours has them.
func TestTakeOverFromKubeRouter(t *testing.T) {
	c := newCluster(t)
	client := c.pod(1, 50, "client")
	one, two := c.backend(1, 10, "one"), c.backend(2, 10, "two")
	c.write("web.yaml", with(web(nodePort), one, two))
	np4 := at(c.Node1.IPv4, webNodePort)
	var script strings.Builder
	fmt.Fprintf(&script, `
ip link add kube-dummy-if type dummy; ip link set kube-dummy-if up
for a in %[1]s/32 10.96.0.99/32 %[2]s/128; do ip addr add $a dev kube-dummy-if scope link; done
ip route replace local %[1]s dev kube-dummy-if table local proto kernel scope host src %[3]s
sysctl -q -w net.ipv4.vs.conntrack=1
ipset create kube-router-svip hash:ip timeout 0; ipset create kube-router-svip-prt hash:ip,port timeout 0; ipset create kube-router-local-ips hash:ip timeout 0
ipset add kube-router-svip %[1]s; ipset add kube-router-svip-prt %[1]s,tcp:80; ipset add kube-router-svip-prt %[3]s,tcp:30999; ipset add kube-router-local-ips %[3]s
iptables -N KUBE-ROUTER-SERVICES
iptables -I INPUT -m comment --comment "handle traffic to IPVS service IPs in custom chain" -m set --match-set kube-router-svip dst -j KUBE-ROUTER-SERVICES
iptables -A KUBE-ROUTER-SERVICES -m set --match-set kube-router-svip-prt dst,dst -j ACCEPT
iptables -A KUBE-ROUTER-SERVICES -m set ! --match-set kube-router-local-ips dst -j REJECT
iptables -t nat -A POSTROUTING -m ipvs --ipvs --vdir ORIGINAL --vmethod MASQ -m comment --comment "" ! -s 10.244.1.0/24 ! -d 10.244.1.0/24 -j SNAT --to-source %[3]s --random-fully
ipvsadm -A -t 10.96.0.99:80 -s rr; ipvsadm -A -t %[3]s:30999 -s rr
`, web4.Addr(), web6.Addr(), c.Node1.IPv4)
	for _, to := range []netip.AddrPort{web4, web6, np4} {
		fmt.Fprintf(&script, "ipvsadm -A -t %s -s lc\n", to)
		for _, pod := range []*topology.Host{one, two} {
			endpoint := at(pod.IPv4, 8080)
			if to.Addr().Is6() {
				endpoint = at(pod.IPv6, 8080)
			}
			fmt.Fprintf(&script, "ipvsadm -a -t %s -r %s -m\n", to, endpoint)
		}
	}
	_, err := c.Node1.Run("sh", "-ec", script.String())
	c.must(err)
	held := slices.Concat(c.hold(client, web4, 4), c.hold(client, web6, 2), c.hold(c.Outside, np4, 4))
	loads := []*harness.Load{
		c.startLoad(client, "--mode", "crr", "--rate", "20", "--duration", "15s", "--timeout", lossTimeout.String(),
			"tcp://"+web4.String()),
		c.startLoad(client, "--mode", "crr", "--rate", "10", "--duration", "15s", "--timeout", lossTimeout.String(),
			"tcp://"+web6.String()),
		c.startLoad(c.Outside, "--mode", "crr", "--rate", "10", "--duration", "15s", "--timeout", lossTimeout.String(),
			"tcp://"+np4.String()),
	}
	c.run("--take-over", "kube-router")
	c.awaitOutput("took the place of the predecessor")
	stillUsable(t, held, "the take-over")
	for _, l := range loads {
		r, err := l.Wait()
		c.must(err)
		withoutErrors(t, r)
	}
	now := c.dataplane()
	for _, gone := range []string{"kube-router", "KUBE-ROUTER", "vmethod", "10.96.0.99", "30999"} {
		if strings.Contains(now, gone) {
			t.Errorf("%s is left:\n%s", gone, now)
		}
	}
	if links, err := c.Node1.Run("ip", "-o", "link"); err != nil || strings.Contains(links, "kube-dummy-if") {
		t.Errorf("the link is left: %s %v", links, err)
	}
	for _, conn := range held {
		conn.Close()
	}
	c.sameAsFresh("--manifests", c.manifests)
}
