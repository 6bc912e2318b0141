//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
	"github.com/ipvs-proxier/ipvs-proxier/e2e/sidebyside"
	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// What listens where.
const (
	servePort = 8080 // ipvs-load serve: at the endpoint, and at each node's second pod
	closePort = 8081 // CloseFirst: at the endpoint
	floodPort = 8082 // Deaf: at the endpoint, the second pods and the nodes
	ownPort   = 9090 // ipvs-load serve at each node, an endpoint of the Service own
	plainPort = 9091 // ipvs-load serve at each node, no Service's
)

// The Services that get requests: each has the node port of its number.
var (
	servingIP = netip.MustParseAddr("10.96.0.10")
	closingIP = netip.MustParseAddr("10.96.0.11")
	floodIP   = netip.MustParseAddr("10.96.0.12")
	ownIP     = netip.MustParseAddr("10.96.0.13")
)

var dataServices = []struct {
	name     string
	ip       netip.Addr
	port     int32
	nodePort int32
}{
	{"serving", servingIP, servePort, 30080}, {"closing", closingIP, closePort, 30081}, {"flood", floodIP, floodPort, 30082}, {"own", ownIP, ownPort, 30083},
}

// dataPlane is the network in which variants are measured.
type dataPlane struct {
	c        *cluster
	result   *sidebyside.Result
	nodes    []*dataNode
	endpoint *topology.Host // on the LAN, without rules
	sctp     bool           // the kernel has it
}

// dataNode is the node of one variant with two pods.
type dataNode struct {
	*topology.Host
	variant     string
	number      int
	client, pod *topology.Host
}

// serves reports whether the node has Services.
func (n *dataNode) serves() bool {
	return n.variant != sidebyside.None && n.variant != sidebyside.Tracked
}

// dataPlane makes the nodes of the variants that are wanted and possible, and lets the proxies write their rules.
func (c *cluster) dataPlane(result *sidebyside.Result) *dataPlane {
	c.t.Helper()
	d := &dataPlane{c: c, result: result}
	d.endpoint = d.lanHost(90, "endpoint")
	protocols := []string{"tcp", "udp"}
	if err := harness.LoadSCTP(); err != nil {
		c.t.Logf("SCTP is not measured: %v", err)
	} else {
		d.sctp, protocols = true, append(protocols, "sctp")
	}
	var listen []string
	for _, protocol := range protocols {
		listen = append(listen, "--listen", fmt.Sprintf("%s://0.0.0.0:%d", protocol, servePort))
	}
	c.serve(d.endpoint, "endpoint", listen...)
	closing, err := harness.CloseFirst(d.endpoint, closePort, "endpoint")
	c.must(err)
	c.t.Cleanup(func() { closing.Close() })
	d.listenDeaf(d.endpoint)
	// More clients than one, of addresses of their own.
	for i := range 50 {
		c.must(c.Outside.AddAddress("eth0", netip.PrefixFrom(outsideClient(i), 24)))
	}
	wanted := strings.Split(os.Getenv("IPVSP_BENCH_VARIANTS"), ",")
	for i, variant := range sidebyside.Variants {
		if len(wanted) > 0 && wanted[0] != "" &&
			!slices.ContainsFunc(wanted, func(w string) bool { return strings.TrimSpace(w) == variant }) {
			result.Without[variant] = "VARIANTS does not name it."
			continue
		}
		if variant == sidebyside.ProxyNFT || variant == sidebyside.OursNFT {
			if why := d.c.withoutNFTables(); why != "" {
				result.Without[variant] = why
				continue
			}
		}
		d.nodes = append(d.nodes, d.addNode(11+i, variant))
	}
	d.program()
	return d
}

func outsideClient(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 168, 50, byte(160 + i)}) }

func (d *dataPlane) lanHost(number int, name string) *topology.Host {
	d.c.t.Helper()
	h, err := d.c.AddNode(number, name)
	d.c.must(err)
	// A client has closed most connections itself a second time within the minute of TIME_WAIT.
	d.c.must(h.Sysctl("net/ipv4/tcp_tw_reuse", "1"))
	return h
}

func (d *dataPlane) listenDeaf(h *topology.Host) {
	d.c.t.Helper()
	deaf, err := harness.Deaf(h, floodPort)
	d.c.must(err)
	d.c.t.Cleanup(func() { deaf.Close() })
}

func (d *dataPlane) addNode(number int, variant string) *dataNode {
	d.c.t.Helper()
	n := &dataNode{Host: d.lanHost(number, fmt.Sprint("node", number)), variant: variant, number: number}
	for _, p := range []struct {
		host   **topology.Host
		number int
		name   string
	}{{&n.client, 50, "client"}, {&n.pod, 10, "pod"}} {
		pod, err := d.c.AddPodOn(n.Host, number, p.number, fmt.Sprint(p.name, number))
		d.c.must(err)
		*p.host = pod
	}
	d.c.must(n.client.Sysctl("net/ipv4/tcp_tw_reuse", "1"))
	for _, h := range []*topology.Host{d.endpoint, d.c.Outside} {
		d.run(h, "ip", "route", "add", fmt.Sprintf("10.244.%d.0/24", number), "via", n.IPv4.String())
	}
	d.c.serve(n.pod, n.pod.Name)
	d.c.serve(n.Host, n.Name, "--listen", fmt.Sprintf("tcp://0.0.0.0:%d", ownPort), "--listen",
		fmt.Sprintf("tcp://0.0.0.0:%d", plainPort))
	d.listenDeaf(n.pod)
	d.listenDeaf(n.Host)
	return n
}

func (d *dataPlane) run(h *topology.Host, name string, args ...string) {
	d.c.t.Helper()
	_, err := h.Run(name, args...)
	d.c.must(err)
}

// program gives each node what its variant has. The proxies read one API server, and all of them are ended when every
// Service answers everywhere.
func (d *dataPlane) program() {
	d.c.t.Helper()
	var proxies []*dataNode
	for _, n := range d.nodes {
		switch n.variant {
		case sidebyside.Tracked:
			// A rule that no packet matches: tracking is what it brings.
			d.run(n.Host, "iptables", "-t", "nat", "-A", "POSTROUTING", "-s", "198.51.100.0/24", "-j", "MASQUERADE")
		case sidebyside.Bare:
			d.programBare(n)
		case sidebyside.BareFilter:
			d.programBare(n)
			d.run(n.Host, "iptables", "-A", "INPUT", "-m", "conntrack", "--ctstatus", "EXPECTED", "-j", "DROP")
		case sidebyside.BareRandom:
			d.programBare(n, "--random-fully")
		case sidebyside.Ours, sidebyside.OursNFT, sidebyside.ProxyVS, sidebyside.ProxyNFT:
			proxies = append(proxies, n)
		}
	}
	if len(proxies) > 0 {
		d.programByAPI(proxies)
	}
}

func (d *dataPlane) programBare(n *dataNode, masquerade ...string) {
	d.c.t.Helper()
	d.c.must(n.AddDummy("virtual"))
	d.c.must(n.Sysctl("net/ipv4/vs/conntrack", "1"))
	for _, s := range dataServices {
		d.c.must(n.AddAddress("virtual", netip.PrefixFrom(s.ip, 32)))
		for _, virtual := range []netip.AddrPort{at(s.ip, 80), at(n.IPv4, uint16(s.nodePort))} {
			protocols := []string{"-t", "-u"}
			if d.sctp && s.port == servePort {
				protocols = append(protocols, "--sctp-service")
			}
			for _, protocol := range protocols {
				d.run(n.Host, "ipvsadm", "-A", protocol, virtual.String(), "-s", "rr")
				d.run(n.Host, "ipvsadm", "-a", protocol, virtual.String(), "-r", at(d.endpoint.IPv4, uint16(s.port)).String(), "-m")
			}
		}
	}
	rule := []string{"-t", "nat", "-A", "POSTROUTING", "-d", d.endpoint.IPv4.String(), "!", "-s", fmt.Sprintf(
		"10.244.%d.0/24", n.number,
	), "-j", "MASQUERADE"}
	d.run(n.Host, "iptables", append(rule, masquerade...)...)
}

func (d *dataPlane) programByAPI(proxies []*dataNode) {
	d.c.t.Helper()
	c := d.c
	local, client, stop := c.startAPIServer(c.Node2)
	text, err := os.ReadFile(local)
	c.must(err)
	kubeconfig := filepath.Join(c.t.TempDir(), "kubeconfig")
	c.must(os.WriteFile(kubeconfig, []byte(strings.ReplaceAll(string(text), "127.0.0.1", c.Node2.IPv4.String())), 0o600))
	last := d.createServices(client, proxies)
	var running []*harness.Process
	for _, n := range proxies {
		switch n.variant {
		case sidebyside.Ours, sidebyside.OursNFT:
			args := []string{"--kubeconfig", kubeconfig}
			if n.variant == sidebyside.OursNFT {
				args = append(args, "--netfilter", "nftables")
			}
			p, err := programs.StartProxier(n.Host, args...)
			c.must(err)
			running = append(running, p.Process)
			c.t.Cleanup(p.Kill)
		case sidebyside.ProxyVS:
			running = append(running, c.startKubeProxy(n.Host, kubeconfig))
		case sidebyside.ProxyNFT:
			running = append(running, c.startKubeProxyIn("nftables", n.Host, kubeconfig))
		}
	}
	for i, n := range proxies {
		c.must(harness.Await(10*time.Minute, func() error {
			if running[i].Ended() {
				c.t.Fatalf("%s has ended:\n%s", n.variant, running[i].Output())
			}
			return d.answers(n, last)
		}))
		c.t.Logf("%s has its Services", n.variant)
	}
	for _, p := range running {
		p.Kill()
	}
	stop()
}

// createServices creates Nodes and Services, and returns the address of the last one.
func (d *dataPlane) createServices(client kubernetes.Interface, proxies []*dataNode) netip.Addr {
	d.c.t.Helper()
	ctx := d.c.t.Context()
	for _, n := range proxies {
		node, err := client.CoreV1().Nodes().Create(ctx, &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: n.Name}},
			metav1.CreateOptions{})
		d.c.must(err)
		node.Status.Addresses = []v1.NodeAddress{
			{Type: v1.NodeInternalIP, Address: n.IPv4.String()}, {Type: v1.NodeInternalIP, Address: n.IPv6.String()},
		}
		_, err = client.CoreV1().Nodes().UpdateStatus(ctx, node, metav1.UpdateOptions{})
		d.c.must(err)
	}
	endpoint := *d.endpoint
	endpoint.Node = "elsewhere"
	for _, of := range dataServices {
		ends := []*topology.Host{&endpoint}
		if of.name == "own" {
			ends = nil
			for _, n := range d.nodes {
				ends = append(ends, &topology.Host{Node: n.Name, IPv4: n.IPv4, IPv6: n.IPv6})
			}
		}
		d.c.must(create(ctx, client, service(of.name, []string{of.ip.String()}, nodePort, func(s *v1.Service) {
			for i := range s.Spec.Ports {
				s.Spec.Ports[i].TargetPort, s.Spec.Ports[i].NodePort = intstr.FromInt32(of.port), of.nodePort
			}
			if d.sctp && of.port == servePort {
				port := s.Spec.Ports[0]
				port.Name, port.Protocol = "sctp", v1.ProtocolSCTP
				s.Spec.Ports = append(s.Spec.Ports, port)
			}
		}), ends...))
	}
	// The rest, by several requests at a time.
	number := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 96, byte(1 + i/250), byte(1 + i%250)}) }
	errs := make([]error, 4)
	var all sync.WaitGroup
	for part := range errs {
		all.Go(func() {
			for i := part; i < d.result.Services; i += len(errs) {
				errs[part] = errors.Join(errs[part],
					create(ctx, client, service(fmt.Sprint("more-", i), []string{number(i).String()}), &endpoint))
			}
		})
	}
	all.Wait()
	d.c.must(errors.Join(errs...))
	if d.result.Services == 0 {
		return ownIP
	}
	return number(d.result.Services - 1)
}

func create(ctx context.Context, client kubernetes.Interface, s *v1.Service, endpoints ...*topology.Host) error {
	if _, err := client.CoreV1().Services("default").Create(ctx, s, metav1.CreateOptions{}); err != nil {
		return err
	}
	for _, slice := range endpointSlices(s, endpoints...) {
		if _, err := client.DiscoveryV1().EndpointSlices("default").Create(ctx, slice, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	return nil
}

// answers returns an error unless all targets of the node answer, and its last Service.
func (d *dataPlane) answers(n *dataNode, last netip.Addr) error {
	for _, ask := range []struct {
		from    *topology.Host
		network string
		to      netip.AddrPort
	}{
		{n.client, "tcp", at(last, 80)}, {n.client, "tcp", at(servingIP, 80)}, {n.client, "udp", at(servingIP, 80)}, {n.Host, "tcp", at(servingIP, 80)}, {n.Host, "tcp", at(closingIP, 80)},
		{n.Host, "udp", at(servingIP, 80)}, {d.c.Outside, "tcp", at(n.IPv4, 30080)}, {d.c.Outside, "tcp", at(n.IPv4, 30081)},
	} {
		if _, err := harness.Ask(ask.from, ask.network, ask.to); err != nil {
			return fmt.Errorf("%s: %s asks %s: %w", n.variant, ask.from.Name, ask.to, err)
		}
	}
	return nil
}
