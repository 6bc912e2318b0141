package nodecheck

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const server = "https://192.0.2.1:6443"

// ready returns a node without anything wrong, and what is needed of it.
func ready() (Facts, Wanted) {
	f := Facts{
		Kernel: "6.12.3", Modules: map[string]ModuleState{}, ModulesWhy: "no list can be read",
		Capabilities: Is[uint64](1<<capNetAdmin | 1<<capNetRaw),
		Sysctls:      map[string]Sysctl{"net.ipv4.ip_forward": {Value: "0"}, "net.ipv4.vs.conntrack": {Missing: true}},
		Iptables:     "nft", KubeletChain: Is("nft"), IPv6: true, IPv6Programs: true,
		Bridges: Is([]Bridge{
			{Name: "cni0", Addresses: []netip.Prefix{netip.MustParsePrefix("10.244.1.1/24")}, Calls4: true},
		}),
		Listening:  Is([]netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:22")}),
		LocalPorts: Is(Range{32768, 60999}), NodePorts: Is([]uint16{30080}),
		Conntrack:   Is(Conntrack{Count: 10, Max: 65536, Wanted: 131072, Settable: true}),
		Connections: Is(Connections{Count: 100, Buckets: 4096}),
		Servers:     []Server{{URL: server, Status: 200, Ahead: Is(time.Second)}}, Access: map[Permission]Maybe[bool]{}, Node: Is(true),
		KubernetesIPs: []netip.Addr{netip.MustParseAddr("10.96.0.1")},
	}
	for _, name := range Modules() {
		f.Modules[name] = Loadable
	}
	for _, p := range Permissions {
		f.Access[p] = Is(true)
	}
	return f, Wanted{
		NodeName: "n1", Schedulers: []string{"rr"}, Sysctls: map[string]string{"net.ipv4.ip_forward": "1", "net.ipv4.vs.conntrack": "1"},
		ClusterCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}, Dummy: true,
		Binds: map[string]netip.AddrPort{"healthz-bind-address": netip.MustParseAddrPort("0.0.0.0:10256")}, MasqueradePorts: Range{32768, 65535},
	}
}

var checkCases = map[string]struct {
	change func(*Facts, *Wanted)
	// want are the codes of what is not right, with the severity.
	want []string
	// says are words of these findings.
	says []string
}{
	"a node that is right": {func(*Facts, *Wanted) {}, nil, nil},
	"no IPVS":              {func(f *Facts, _ *Wanted) { f.Modules["ip_vs"] = Absent }, []string{"IPX-201 fails"}, []string{"modprobe -a ip_vs"}},
	"no lists of modules": {func(f *Facts, _ *Wanted) { f.Modules = map[string]ModuleState{"ip_vs": Loaded} },
		[]string{
			"IPX-202 unknown", "IPX-203 unknown", "IPX-204 unknown", "IPX-205 unknown", "IPX-206 unknown", "IPX-207 unknown",
		}, []string{"no list can be read"}},
	"the scheduler of the configuration is missing": {func(f *Facts, w *Wanted) {
		w.Schedulers, f.Modules["ip_vs_twos"] = []string{
			"rr", "twos",
		}, Absent
	},
		[]string{"IPX-202 fails"}, []string{"ip_vs_twos"}},
	"a scheduler that nobody asks for is missing": {func(f *Facts, _ *Wanted) { f.Modules["ip_vs_twos"] = Absent }, nil, nil},
	"a scheduler that only the node may load": {func(_ *Facts, w *Wanted) { w.Schedulers = []string{"lblc"} },
		[]string{"IPX-202 fails"}, []string{"modprobe ip_vs_lblc", "/etc/modules-load.d"}},
	"and has loaded":               {func(f *Facts, w *Wanted) { w.Schedulers, f.Modules["ip_vs_lblc"] = []string{"lblc"}, Loaded }, nil, nil},
	"no type of set":               {func(f *Facts, _ *Wanted) { f.Modules["ip_set_hash_net"] = Absent }, []string{"IPX-203 fails"}, []string{"modprobe -a ip_set_hash_net"}},
	"no match":                     {func(f *Facts, _ *Wanted) { f.Modules["xt_set"] = Absent }, []string{"IPX-204 fails"}, []string{"xt_set"}},
	"no match of IPVS":             {func(f *Facts, _ *Wanted) { f.Modules["xt_ipvs"] = Absent }, []string{"IPX-205 warns"}, nil},
	"no view of conntrack":         {func(f *Facts, _ *Wanted) { f.Modules["nf_conntrack_netlink"] = Absent }, []string{"IPX-206 fails"}, nil},
	"no dummy":                     {func(f *Facts, _ *Wanted) { f.Modules["dummy"] = Absent }, []string{"IPX-207 fails"}, []string{"--vip-mode=route"}},
	"no dummy, and none is needed": {func(f *Facts, w *Wanted) { f.Modules["dummy"], w.Dummy = Absent, false }, nil, nil},

	"no capability": {func(f *Facts, _ *Wanted) { f.Capabilities = Is[uint64](1 << capNetRaw) }, []string{"IPX-211 fails"}, []string{"no CAP_NET_ADMIN", "NET_ADMIN and NET_RAW"}},
	"none known":    {func(f *Facts, _ *Wanted) { f.Capabilities = Not[uint64]("no /proc") }, []string{"IPX-211 unknown"}, []string{"no /proc"}},
	"user namespace": {func(f *Facts, _ *Wanted) { f.UserNamespace, f.UIDMap = true, "0 1000 1" },
		[]string{"IPX-212 fails"}, []string{"0 1000 1", "hostUsers"}},
	"a parameter that has to be set and cannot": {func(f *Facts, _ *Wanted) {
		f.Sysctls["net.ipv4.ip_forward"] = Sysctl{Value: "0", ReadOnly: "read-only file system"}
	}, []string{"IPX-213 fails"}, []string{"sysctl -w net.ipv4.ip_forward=1", "read-only"}},
	"a parameter that is right and cannot be set": {func(f *Facts, _ *Wanted) {
		f.Sysctls["net.ipv4.ip_forward"] = Sysctl{Value: "1", ReadOnly: "read-only file system"}
	}, []string{"IPX-213 warns"}, []string{"not repaired"}},
	"SELinux confines it":  {func(f *Facts, _ *Wanted) { f.SELinux = "container_t" }, []string{"IPX-214 warns"}, []string{"spc_t"}},
	"SELinux and no worry": {func(f *Facts, _ *Wanted) { f.SELinux = "spc_t" }, nil, nil},

	"no iptables":     {func(f *Facts, _ *Wanted) { f.Programs = []string{"iptables-restore"} }, []string{"IPX-221 fails"}, []string{"apt-get install iptables"}},
	"another variant": {func(f *Facts, _ *Wanted) { f.KubeletChain = Is("legacy") }, []string{"IPX-222 warns"}, []string{"--iptables=legacy"}},
	"no kubelet":      {func(f *Facts, _ *Wanted) { f.KubeletChain = Is("") }, nil, nil},
	"variant unknown": {func(f *Facts, _ *Wanted) { f.KubeletChain = Not[string]("permission denied") }, []string{"IPX-222 unknown"}, nil},
	"no ip6tables":    {func(f *Facts, _ *Wanted) { f.IPv6Programs = false }, nil, nil},
	"no IPv6, but pods": {func(f *Facts, w *Wanted) {
		f.IPv6 = false
		w.ClusterCIDRs = append(w.ClusterCIDRs, netip.MustParsePrefix("fd00:10:244::/56"))
	}, []string{"IPX-223 fails"}, nil},

	"a bridge of pods": {func(f *Facts, _ *Wanted) { f.Bridges.Value[0].Calls4 = false }, []string{"IPX-231 fails"}, []string{"cni0", "modprobe br_netfilter"}},
	"a bridge of others": {func(f *Facts, _ *Wanted) {
		f.Bridges = Is([]Bridge{{Name: "virbr0", Addresses: []netip.Prefix{netip.MustParsePrefix("192.168.122.1/24")}}})
	}, nil, nil},
	"a bridge, and no word of pods": {func(f *Facts, w *Wanted) { f.Bridges.Value[0].Calls4, w.ClusterCIDRs = false, nil }, []string{"IPX-231 warns"}, nil},
	"the bridge that is named":      {func(f *Facts, w *Wanted) { f.Bridges.Value[0].Calls4, w.ClusterCIDRs, w.PodBridge = false, nil, "cni0" }, []string{"IPX-231 fails"}, nil},
	"a bridge with IPv6 pods": {func(f *Facts, w *Wanted) {
		f.Bridges.Value[0].Addresses = []netip.Prefix{netip.MustParsePrefix("fd00:10:244:1::1/64")}
		w.ClusterCIDRs = []netip.Prefix{netip.MustParsePrefix("fd00:10:244::/56")}
	}, []string{"IPX-231 fails"}, nil},
	"kube-proxy": {func(f *Facts, _ *Wanted) { f.Proxies = []Proxy{{"kube-proxy", "process 7"}} }, []string{"IPX-232 fails"}, []string{"process 7", "--take-over=kube-proxy"}},
	"kube-proxy, which is waited for, on our port": {func(f *Facts, w *Wanted) {
		f.Proxies, w.TakeOver = []Proxy{{"kube-proxy", "process 7"}}, "kube-proxy"
		f.Listening = Is([]netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:10256")})
	}, nil, nil},
	"our port is taken": {func(f *Facts, _ *Wanted) {
		f.Listening = Is([]netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:10256")})
	},
		[]string{"IPX-233 warns"}, []string{"--healthz-bind-address=0.0.0.0:10256"}},
	"our port is ours": {func(f *Facts, _ *Wanted) {
		f.Listening, f.Running = Is([]netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:10256")}), "another ipvs-proxier"
	}, nil, nil},

	"node ports are masqueraded": {func(_ *Facts, w *Wanted) { w.MasqueradePorts = Range{1024, 65535} }, []string{"IPX-241 fails"}, []string{"30080"}},
	"every port may be taken":    {func(_ *Facts, w *Wanted) { w.MasqueradePorts = Range{} }, nil, nil},
	"node ports not known":       {func(f *Facts, _ *Wanted) { f.NodePorts = Not[[]uint16]("Forbidden") }, []string{"IPX-241 unknown", "IPX-242 unknown"}, nil},
	"the node takes node ports": {func(f *Facts, _ *Wanted) { f.LocalPorts = Is(Range{1024, 60999}) },
		[]string{"IPX-242 warns"}, []string{"30080", "ip_local_reserved_ports"}},
	"the node keeps them": {func(f *Facts, _ *Wanted) { f.LocalPorts, f.Reserved = Is(Range{1024, 60999}), []Range{{30000, 32767}} }, nil, nil},
	"conntrack is small, for good": {func(f *Facts, _ *Wanted) { f.Conntrack = Is(Conntrack{Max: 65536, Wanted: 131072}) },
		[]string{"IPX-243 warns"}, []string{"nf_conntrack_max=131072"}},
	"conntrack is full":  {func(f *Facts, _ *Wanted) { f.Conntrack = Is(Conntrack{Count: 90, Max: 100}) }, []string{"IPX-244 warns"}, []string{"nf_conntrack_max=200"}},
	"few buckets":        {func(f *Facts, _ *Wanted) { f.Connections = Is(Connections{Buckets: 256}) }, []string{"IPX-245 warns"}, []string{"conn_tab_bits=20"}},
	"many connections":   {func(f *Facts, _ *Wanted) { f.Connections = Is(Connections{Buckets: 4096, Count: 4*4096 + 1}) }, []string{"IPX-245 warns"}, nil},
	"a table that grows": {func(f *Facts, _ *Wanted) { f.Connections = Is(Connections{Grows: true, Buckets: 256, Count: 10000}) }, nil, nil},
	"conn_max":           {func(f *Facts, _ *Wanted) { f.Connections = Is(Connections{Grows: true, Count: 95, Max: 100}) }, []string{"IPX-246 warns"}, nil},

	"no source": {func(f *Facts, _ *Wanted) {
		f.Source, f.Servers, f.NodePorts = "no kubeconfig", nil, Not[[]uint16]("no source of Services")
	}, []string{"IPX-251 fails", "IPX-241 unknown", "IPX-242 unknown"}, []string{"no kubeconfig"}},
	"no server": {func(f *Facts, _ *Wanted) {
		f.Servers[0], f.Node = Server{URL: server, Err: "connection refused"}, Not[bool]("no API server answers")
	},
		[]string{"IPX-252 fails", "IPX-256 unknown"}, []string{"connection refused", server}},
	"one of two servers": {func(f *Facts, _ *Wanted) {
		f.Servers = append(f.Servers, Server{URL: "https://192.0.2.2:6443", Err: "no route to host"})
	},
		[]string{"IPX-252 warns"}, []string{"192.0.2.2"}},
	"a wrong token": {func(f *Facts, _ *Wanted) { f.Servers[0].Status = 401 }, []string{"IPX-253 fails"}, []string{"Unauthorized"}},
	"services may not be watched": {func(f *Facts, _ *Wanted) {
		f.Access[Permission{
			"", "services", "watch",
		}] = Is(false)
	},
		[]string{"IPX-254 fails"}, []string{"watch services", "kubectl apply"}},
	"events may not be created": {func(f *Facts, _ *Wanted) {
		f.Access[Permission{
			"events.k8s.io", "events", "create",
		}] = Is(false)
	},
		[]string{"IPX-254 warns"}, []string{"create events.events.k8s.io"}},
	"nobody says what is allowed": {func(f *Facts, _ *Wanted) {
		f.Access[Permission{
			"", "nodes", "list",
		}] = Not[bool]("403")
	},
		[]string{"IPX-254 unknown"}, []string{"list nodes: 403"}},
	"the server is a Service":         {func(f *Facts, _ *Wanted) { f.Servers[0].URL = "https://10.96.0.1:443" }, []string{"IPX-255 fails"}, []string{"apiServers"}},
	"the server is a Service by name": {func(f *Facts, _ *Wanted) { f.Servers[0].URL = "https://kubernetes.default.svc:443" }, []string{"IPX-255 fails"}, nil},
	"another name of the node":        {func(f *Facts, _ *Wanted) { f.Node = Is(false) }, []string{"IPX-256 fails"}, []string{"--node-name"}},
	"the clock is slow":               {func(f *Facts, _ *Wanted) { f.Servers[0].Ahead = Is(-time.Hour) }, []string{"IPX-257 warns"}, []string{"1h0m0s"}},
}

func TestJudge(t *testing.T) {
	for name, c := range checkCases {
		t.Run(name, func(t *testing.T) {
			f, w := ready()
			c.change(&f, &w)
			report := Evaluate(f, w)
			var got, text []string
			for _, finding := range report.Findings {
				if finding.Severity == OK {
					continue
				}
				got, text = append(got, finding.Code+" "+finding.Severity.String()), append(text, finding.String())
				if finding.Found == "" || finding.Severity != Unknown && (finding.Consequence == "" || finding.Fix == "") {
					t.Errorf("%s does not say what was found, what comes of it and what fixes it", finding)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s%s", diff, strings.Join(text, "\n"))
			}
			for _, words := range c.says {
				if !strings.Contains(strings.Join(text, "\n"), words) {
					t.Errorf("want %q in\n%s", words, strings.Join(text, "\n"))
				}
			}
			if w.NodeName != report.Node || !strings.Contains(report.Verdict, "n1") ||
				(len(c.want) == 0) != (report.Verdict == "node n1 is ready.") {
				t.Errorf("the verdict is %q", report.Verdict)
			}
		})
	}
}

// TestEveryCheckCanFail: for each check there is a case that finds something, and codes are in order and used once.
func TestEveryCheckCanFail(t *testing.T) {
	found := map[string]bool{}
	for _, c := range checkCases {
		for _, text := range c.want {
			if !strings.HasSuffix(text, "unknown") {
				found[text[:len("IPX-000")]] = true
			}
		}
	}
	var codes []string
	for _, c := range Checks() {
		codes = append(codes, c.Code)
	}
	if !slices.IsSorted(codes) {
		t.Errorf("the codes are not in order: %v", codes)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(found)), codes); diff != "" {
		t.Errorf("(-cases +checks):\n%s", diff)
	}
}
