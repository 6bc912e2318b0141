//go:build kernel

package predecessor

import (
	"fmt"
	"net/netip"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel/kerneltest"
)

func shell(t *testing.T, command string) string {
	t.Helper()
	out, err := exec.Command("sh", "-ec", command).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return string(out)
}

var changing = regexp.MustCompile(`(?m)^#.*\n|\[\d+:\d+\]|initval \S+`)

// state is what there is in the kernel, without counters.
func state(t *testing.T) string {
	t.Helper()
	return changing.ReplaceAllString(
		shell(t, "ipset save -sorted; iptables-save; ip6tables-save; ip -br link; ip -br addr; ipvsadm -Sn"), "",
	)
}

// others is what kubelet, a CNI plugin, an operator and we ourselves have on a node.
const others = `
ip link add eth0 type dummy; ip link set eth0 up; ip addr add 192.168.50.1/24 dev eth0; ip addr add fd00:50::1/64 dev eth0 nodad
ip link add kube-ipvs0 type dummy; ip addr add 10.96.0.10/32 dev kube-ipvs0; ip addr add fd00:10:96::10/128 dev kube-ipvs0 nodad
ipset create mine hash:net; ipset create KUBE-OTHER hash:ip,port; ipset create IPVSP-FRONT-END hash:ip,port; ipset create kube-router-pod-subnets hash:net
for f in iptables ip6tables; do
$f -t mangle -N KUBE-IPTABLES-HINT; $f -t mangle -N KUBE-KUBELET-CANARY; $f -t nat -N KUBE-KUBELET-CANARY; $f -N KUBE-KUBELET-CANARY
$f -t nat -N KUBE-MARK-DROP; $f -t nat -A KUBE-MARK-DROP -j MARK --or-mark 0x8000
$f -N KUBE-FIREWALL; $f -A INPUT -j KUBE-FIREWALL; $f -A OUTPUT -j KUBE-FIREWALL
$f -t nat -N IPVSP-SERVICES; $f -t nat -A PREROUTING -m comment --comment "ipvs-proxier: services" -j IPVSP-SERVICES
$f -t nat -N CNI-DN; $f -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j CNI-DN
$f -N KUBE-ROUTER-INPUT; $f -A INPUT -m comment --comment "kube-router netpol" -j KUBE-ROUTER-INPUT
$f -A INPUT -p tcp --dport 22 -m comment --comment "say \"KUBE-SERVICES\"" -j ACCEPT; $f -P FORWARD DROP
done`

// kubeProxySets makes the script that creates kube-proxy's sets.
func kubeProxySets() string {
	var b strings.Builder
	of := traces[KubeProxy]
	for i, name := range of.setNames() {
		kind := "hash:ip,port"
		switch base := strings.Replace(name, "KUBE-6-", "KUBE-", 1); {
		case base == "KUBE-LOOP-BACK", base == "KUBE-LOAD-BALANCER-SOURCE-IP":
			kind = "hash:ip,port,ip"
		case strings.HasPrefix(base, "KUBE-LOAD-BALANCER-SOURCE-CID"):
			kind = "hash:ip,port,net"
		case base == "KUBE-IPVS-IPS":
			kind = "hash:ip"
		case strings.HasSuffix(base, "-TCP"), strings.HasSuffix(base, "-UDP"), base == "KUBE-HEALTH-CHECK-NODE-PORT":
			kind = "bitmap:port range 0-65535"
		}
		if i >= len(of.sets) && strings.HasPrefix(kind, "hash") {
			kind += " family inet6"
		}
		fmt.Fprintf(&b, "ipset create %s %s\n", name, kind)
	}
	return b.String()
}

// kubeProxyRules are like kube-proxy's, of both its modes, with the sets of each family.
const kubeProxyRules = `
for f in iptables ip6tables; do
[ $f = iptables ] && six= || six=6-
for c in KUBE-SERVICES KUBE-POSTROUTING KUBE-NODE-PORT KUBE-LOAD-BALANCER KUBE-MARK-MASQ KUBE-NODEPORTS KUBE-SVC-ABCDEFGHIJKLMNOP KUBE-SEP-ABCDEFGHIJKLMNOP KUBE-PROXY-CANARY; do $f -t nat -N $c; done
for c in KUBE-FORWARD KUBE-NODE-PORT KUBE-PROXY-FIREWALL KUBE-SOURCE-RANGES-FIREWALL KUBE-IPVS-FILTER KUBE-IPVS-OUT-FILTER KUBE-EXTERNAL-SERVICES KUBE-PROXY-CANARY; do $f -N $c; done
$f -t mangle -N KUBE-PROXY-CANARY
$f -t nat -I PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
$f -t nat -A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
$f -t nat -I OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
$f -t nat -I POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
$f -I FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
$f -I INPUT -m comment --comment "kubernetes health check rules" -j KUBE-NODE-PORT
$f -I INPUT -m comment --comment "kube-proxy firewall rules" -j KUBE-PROXY-FIREWALL
$f -I FORWARD -m comment --comment "kube-proxy firewall rules" -j KUBE-PROXY-FIREWALL
$f -I INPUT -m comment --comment "kubernetes ipvs access filter" -j KUBE-IPVS-FILTER
$f -I OUTPUT -m comment --comment "kubernetes ipvs access filter" -j KUBE-IPVS-OUT-FILTER
$f -A INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES
$f -t nat -A KUBE-SERVICES -m comment --comment "Kubernetes service lb portal" -m set --match-set KUBE-${six}LOAD-BALANCER dst,dst -j KUBE-LOAD-BALANCER
$f -t nat -A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODE-PORT; $f -t nat -A KUBE-SERVICES -j KUBE-SVC-ABCDEFGHIJKLMNOP
$f -t nat -A KUBE-SVC-ABCDEFGHIJKLMNOP -j KUBE-SEP-ABCDEFGHIJKLMNOP; $f -t nat -A KUBE-SEP-ABCDEFGHIJKLMNOP -j KUBE-MARK-MASQ
$f -t nat -A KUBE-LOAD-BALANCER -j KUBE-MARK-MASQ; $f -t nat -A KUBE-MARK-MASQ -j MARK --or-mark 0x4000
$f -t nat -A KUBE-NODE-PORT -p tcp -m set --match-set KUBE-${six}NODE-PORT-TCP dst -j KUBE-MARK-MASQ
$f -t nat -A KUBE-POSTROUTING -m set --match-set KUBE-${six}LOOP-BACK dst,dst,src -j MASQUERADE
$f -A KUBE-PROXY-FIREWALL -m set --match-set KUBE-${six}LOAD-BALANCER-FW dst,dst -j KUBE-SOURCE-RANGES-FIREWALL
$f -A KUBE-IPVS-FILTER -m conntrack --ctstate NEW -m set --match-set KUBE-${six}IPVS-IPS dst -j REJECT
done`

func remove(t *testing.T, proxy Proxy) Leftovers {
	t.Helper()
	left, err := Remove(t.Context(), proxy, "kube-ipvs0")
	if err != nil {
		t.Fatal(err)
	}
	return left
}

// TestKubeProxyGoes with chains, jumps and sets of both families, and what others have stays. Then there is nothing
// left.
func TestKubeProxyGoes(t *testing.T) {
	kerneltest.Own(t)
	shell(t, others)
	shell(t, "iptables -t nat -S; ip6tables -t nat -S") // tables that are used appear in the listing
	before := state(t)
	shell(t, kubeProxySets())
	shell(t, kubeProxyRules)
	left := remove(t, KubeProxy)
	if left.Rules != 22 || left.Chains != 36 || len(left.Sets) != 34 ||
		len(left.Links)+len(left.Kept)+len(left.ByHand) != 0 {
		t.Errorf("found %s, kept %q, by hand %q; want 22 rules, 36 chains and 34 sets", left, left.Kept, left.ByHand)
	}
	if diff := cmp.Diff(before, state(t)); diff != "" {
		t.Errorf("(-before kube-proxy +after its removal):\n%s", diff)
	}
	if again := remove(t, KubeProxy); !again.Empty() || again.String() != "nothing" {
		t.Errorf("the second time there is %s", again)
	}
}

// TestWhatOthersUseStays: a chain to which a rule of somebody else's leads, and a set that one names.
func TestWhatOthersUseStays(t *testing.T) {
	kerneltest.Own(t)
	shell(t, others)
	shell(t, kubeProxySets())
	shell(t, kubeProxyRules)
	shell(t, `iptables -t nat -A CNI-DN -j KUBE-MARK-MASQ; ip6tables -A INPUT -m set --match-set KUBE-6-CLUSTER-IP dst,dst -j ACCEPT`)
	for range 2 {
		left := remove(t, KubeProxy)
		if len(left.Kept) != 2 || !strings.Contains(left.Kept[0], "KUBE-MARK-MASQ") ||
			!strings.Contains(left.Kept[1], "KUBE-6-CLUSTER-IP") {
			t.Errorf("kept %q", left.Kept)
		}
	}
	now := state(t)
	for _, want := range []string{
		":KUBE-MARK-MASQ", "-A KUBE-MARK-MASQ -j MARK", "-A CNI-DN -j KUBE-MARK-MASQ", "create KUBE-6-CLUSTER-IP",
	} {
		if !strings.Contains(now, want) {
			t.Errorf("%q is gone", want)
		}
	}
	if strings.Contains(now, "KUBE-SERVICES -") || strings.Contains(now, "create KUBE-CLUSTER-IP") {
		t.Errorf("the rest is still there:\n%s", now)
	}
}

// TestKubeRouterGoes with its link, whose addresses ours has by then; its router and firewall stay.
func TestKubeRouterGoes(t *testing.T) {
	kerneltest.Own(t)
	shell(t, others)
	shell(t, "iptables -t nat -S; ip6tables -t nat -S")
	before := state(t)
	// Its addresses were there first, with routes as it makes them; ours came second.
	shell(t, `
ip addr del 10.96.0.10/32 dev kube-ipvs0; ip addr del fd00:10:96::10/128 dev kube-ipvs0
ip link add kube-dummy-if type dummy; ip link set kube-dummy-if up
for a in 10.96.0.10/32 10.96.0.11/32 fd00:10:96::10/128; do ip addr add $a dev kube-dummy-if scope link; done
ip route replace local 10.96.0.10 dev kube-dummy-if table local proto kernel scope host src 192.168.50.1
ip addr add 10.96.0.10/32 dev kube-ipvs0; ip addr add fd00:10:96::10/128 dev kube-ipvs0 nodad
for f in iptables ip6tables; do
[ $f = iptables ] && six= || six=inet6:
for s in kube-router-local-ips kube-router-svip; do ipset create $six$s hash:ip timeout 0 $([ -z "$six" ] || echo family inet6); done
ipset create ${six}kube-router-svip-prt hash:ip,port timeout 0 $([ -z "$six" ] || echo family inet6)
$f -N KUBE-ROUTER-SERVICES
$f -I INPUT -m comment --comment "handle traffic to IPVS service IPs in custom chain" -m set --match-set ${six}kube-router-svip dst -j KUBE-ROUTER-SERVICES
$f -A KUBE-ROUTER-SERVICES -m set --match-set ${six}kube-router-svip-prt dst,dst -j ACCEPT
$f -A KUBE-ROUTER-SERVICES -m set ! --match-set ${six}kube-router-local-ips dst -j REJECT
$f -t nat -N KUBE-ROUTER-HAIRPIN; $f -t nat -A POSTROUTING -m ipvs --vdir ORIGINAL -j KUBE-ROUTER-HAIRPIN
done
iptables -t nat -A POSTROUTING -m ipvs --ipvs --vdir ORIGINAL --vmethod MASQ -m comment --comment "" ! -s 10.244.1.0/24 ! -d 10.244.1.0/24 -j SNAT --to-source 192.168.50.1 --random-fully`)
	left := remove(t, KubeRouter)
	if left.Rules != 5 || left.Chains != 4 || len(left.Sets) != 6 ||
		!slices.Equal(left.Links, []string{"kube-dummy-if"}) || len(left.Kept) != 0 {
		t.Errorf("found %s, kept %q; want 5 rules, 4 chains, 6 sets and the link", left, left.Kept)
	}
	if diff := cmp.Diff(before, state(t)); diff != "" {
		t.Errorf("(-before kube-router +after its removal):\n%s", diff)
	}
	for _, addr := range []string{"10.96.0.10", "fd00:10:96::10"} {
		if route := shell(t, "ip route get "+addr); !strings.HasPrefix(route, "local "+addr) {
			t.Errorf("an address that was on both links is not local any more: %s", route)
		}
	}
	if again := remove(t, KubeRouter); !again.Empty() {
		t.Errorf("the second time there is %s", again)
	}
}

// TestForeignLinkStays: one of kube-router's name that is no dummy is somebody else's.
func TestForeignLinkStays(t *testing.T) {
	kerneltest.Own(t)
	shell(t, "ip link add kube-dummy-if type veth peer name other")
	if left := remove(t, KubeRouter); !left.Empty() {
		t.Errorf("found %s", left)
	}
	shell(t, "ip link show kube-dummy-if")
}

// TestDirectServerReturnIsTold: the operator gets the commands.
func TestDirectServerReturnIsTold(t *testing.T) {
	kerneltest.Own(t)
	shell(t, "ip rule add prio 32764 fwmark 0x1234 table 78; ip -6 rule add prio 32765 from all table 79")
	found, err := Find(t.Context(), "kube-ipvs0", KubeProxy, KubeRouter)
	if err != nil {
		t.Fatal(err)
	}
	left := found[1]
	for _, want := range []string{"ip rule del fwmark 0x1234 table 78", "ipvsadm -D -f 4660", "ip -6 rule del table 79"} {
		if !slices.Contains(left.ByHand, want) {
			t.Errorf("%q is not among %q", want, left.ByHand)
		}
	}
	for _, command := range left.ByHand {
		if strings.HasPrefix(command, "ip ") {
			shell(t, command)
		}
	}
	if found, err = Find(t.Context(), "kube-ipvs0", KubeRouter); err != nil || len(found[0].ByHand) != 0 {
		t.Errorf("the commands leave %+v, %v", found, err)
	}
}

// TestLedger: a proxy's virtual servers are those on its link, in its sets, and its node ports on addresses of the
// node.
func TestLedger(t *testing.T) {
	kerneltest.Own(t)
	shell(t, others)
	shell(t, kubeProxySets())
	shell(t, `
ipset add KUBE-NODE-PORT-TCP 30080; ipset add KUBE-6-NODE-PORT-UDP 30053; ipset add KUBE-NODE-PORT-SCTP-HASH 192.168.50.1,sctp:30099
ipset add KUBE-EXTERNAL-IP 203.0.113.7,tcp:80; ipset add KUBE-6-LOAD-BALANCER 2001:db8::7,udp:53
ip link add kube-dummy-if type dummy; ip addr add 10.96.0.77/32 dev kube-dummy-if
ipset create kube-router-svip-prt hash:ip,port timeout 0; ipset add kube-router-svip-prt 192.168.50.1,tcp:31000
ipset create inet6:kube-router-svip-prt hash:ip,port timeout 0 family inet6; ipset add inet6:kube-router-svip-prt fd00:50::1,udp:31000`)
	ledgers := map[Proxy]Ledger{"nobody": {}}
	for _, proxy := range Proxies() {
		var err error
		if ledgers[proxy], err = ReadLedger(proxy); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		protocol cluster.Protocol
		at       string
		want     Proxy
	}{
		{cluster.TCP, "10.96.0.10:1", KubeProxy}, // on kube-ipvs0
		{cluster.TCP, "192.168.50.1:30080", KubeProxy},
		{cluster.UDP, "192.168.50.1:30080", ""},
		{cluster.TCP, "192.168.50.7:30080", ""}, // not of this node
		{cluster.UDP, "[fd00:50::1]:30053", KubeProxy},
		{cluster.UDP, "192.168.50.1:30053", ""},
		{cluster.SCTP, "192.168.50.1:30099", KubeProxy},
		{cluster.TCP, "203.0.113.7:80", KubeProxy},
		{cluster.TCP, "203.0.113.7:81", ""},
		{cluster.UDP, "[2001:db8::7]:53", KubeProxy},
		{cluster.TCP, "10.96.0.77:80", KubeRouter}, // on kube-dummy-if
		{cluster.TCP, "192.168.50.1:31000", KubeRouter},
		{cluster.UDP, "[fd00:50::1]:31000", KubeRouter},
		{cluster.TCP, "10.96.7.7:80", ""},
	} {
		to := netip.MustParseAddrPort(c.at)
		id := dataplane.VirtualServerID{Addr: to.Addr(), Port: to.Port(), Protocol: c.protocol}
		for proxy, ledger := range ledgers {
			if got := ledger.Owns(id); got != (proxy == c.want) {
				t.Errorf("%s: %s's is %v", id, proxy, got)
			}
		}
	}
}

// TestSetsOfOtherTypes (B53): sets with the predecessor's names and another type name no virtual server, and are
// removed.
func TestSetsOfOtherTypes(t *testing.T) {
	kerneltest.Own(t)
	shell(t, `
ipset create KUBE-CLUSTER-IP hash:net comment counters maxelem 10; ipset add KUBE-CLUSTER-IP 10.96.0.0/16 comment x
ipset create KUBE-NODE-PORT-TCP hash:ip,port; ipset add KUBE-NODE-PORT-TCP 10.96.0.1,tcp:30080
ipset create KUBE-LOAD-BALANCER hash:ip,port timeout 60 maxelem 1000000 comment; ipset add KUBE-LOAD-BALANCER 10.96.0.2,tcp:80 timeout 0 comment x`)
	ledger, err := ReadLedger(KubeProxy)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{"10.96.0.0:0": false, "10.96.0.1:30080": false, "10.96.0.2:80": true} {
		to := netip.MustParseAddrPort(text)
		if got := ledger.Owns(dataplane.VirtualServerID{
			Addr: to.Addr(), Port: to.Port(), Protocol: cluster.TCP,
		}); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
	if left := remove(t, KubeProxy); len(left.Sets) != 3 || strings.Contains(shell(t, "ipset save"), "KUBE") {
		t.Errorf("removed %s of them", left)
	}
}
