package iptables

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// The front ends of these tests: a Service's at port 80 by TCP and UDP, another one's at 443, a node port, and IPv6.
var fronts = map[string]dataplane.VirtualServerID{
	"a":    {Addr: netip.MustParseAddr("10.96.0.10"), Port: 80, Protocol: cluster.TCP},
	"au":   {Addr: netip.MustParseAddr("10.96.0.10"), Port: 80, Protocol: cluster.UDP},
	"b":    {Addr: netip.MustParseAddr("10.96.0.20"), Port: 443, Protocol: cluster.TCP},
	"node": {Addr: netip.MustParseAddr("192.168.50.1"), Port: 30080, Protocol: cluster.TCP},
	"six":  {Addr: netip.MustParseAddr("fd00:96::10"), Port: 80, Protocol: cluster.TCP},
}

// taken returns which front ends the rules take, each with the built-in chains.
func taken(found []dataplane.Capture) string {
	captures := dataplane.NewCaptures(found)
	var words []string
	for _, name := range []string{"a", "au", "b", "node", "six"} {
		for _, c := range captures.Of(fronts[name]) {
			if !c.Takes(fronts[name]) {
				words = append(words, "BUG")
			}
			words = append(words, name+":"+c.Hook)
		}
	}
	return strings.Join(words, " ")
}

const ours = "-A PREROUTING -m comment --comment \"ipvs-proxier: clients to masquerade\" -j IPVSP-SERVICES\n"

func TestCaptures(t *testing.T) {
	const all = "a:PREROUTING au:PREROUTING b:PREROUTING node:PREROUTING"
	for _, c := range []struct{ name, rules, want string }{
		{"no rule", "", ""},
		{"everything", "-A PREROUTING -j DNAT --to-destination 10.0.0.1", all},
		{"behind ours", ours + "-A PREROUTING -j DNAT --to-destination 10.0.0.1", ""},
		{"a port", "-A PREROUTING -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.0.0.1:8080", "a:PREROUTING"},
		{"a port by its number of protocol", "-A PREROUTING -p 17 -m udp --dport 80 -j REDIRECT --to-ports 53", "au:PREROUTING"},
		{"another port", "-A PREROUTING -p tcp -m tcp --dport 81 -j DNAT --to-destination 10.0.0.1:8080", ""},
		{"all ports but one", "-A PREROUTING -p tcp -m tcp ! --dport 80 -j REDIRECT --to-ports 1", "b:PREROUTING node:PREROUTING"},
		{"a range", "-A PREROUTING -p tcp -m tcp --dport 79:443 -j REDIRECT", "a:PREROUTING b:PREROUTING"},
		{"several ports", "-A PREROUTING -p tcp -m multiport --dports 22,443,30000:32767 -j REDIRECT", "b:PREROUTING node:PREROUTING"},
		{"several ports by number", "-A PREROUTING -p tcp -m multiport --dports 80,443 -j REDIRECT", "a:PREROUTING b:PREROUTING"},
		{"an address", "-A PREROUTING -d 10.96.0.20/32 -j DNAT --to-destination 10.0.0.1", "b:PREROUTING"},
		{"a network", "-A PREROUTING -d 10.96.0.0/28 -p tcp -j DNAT --to-destination 10.0.0.1", "a:PREROUTING"},
		{"outside of a network", "-A PREROUTING ! -d 10.96.0.0/16 -j DNAT --to-destination 10.0.0.1", "node:PREROUTING"},
		{"no tcp", "-A PREROUTING ! -p tcp -j DNAT --to-destination 10.0.0.1", "au:PREROUTING"},
		{"icmp", "-A PREROUTING -p icmp -j DNAT --to-destination 10.0.0.1", ""},
		{"local addresses, which VIPs are", "-A PREROUTING -m addrtype --dst-type LOCAL -j DNAT --to-destination 10.0.0.1", all},
		{"addresses that are not local", "-A PREROUTING -m addrtype ! --dst-type LOCAL -j DNAT --to-destination 10.0.0.1", ""},
		{"broadcasts", "-A PREROUTING -m addrtype --dst-type BROADCAST -j DNAT --to-destination 10.0.0.1", ""},
		{"some clients", "-A PREROUTING -s 10.0.0.0/8 -i eth0 -p tcp -m conntrack --ctstate NEW -m tcp --dport 80 --tcp-flags SYN,RST SYN -j REDIRECT", "a:PREROUTING"},
		{"a set, which is not in the text", "-A PREROUTING -m set --match-set x dst,dst -j DNAT --to-destination 10.0.0.1", ""},
		{"a mark", "-A PREROUTING -m mark --mark 0x1 -j DNAT --to-destination 10.0.0.1", ""},
		{"a mask with holes", "-A PREROUTING -d 10.0.0.10/255.0.0.255 -j REDIRECT", ""},
		{"no DNAT", "-A PREROUTING -p tcp -j LOG --log-prefix \"-j DNAT \"\n-A PREROUTING -j MARK --set-xmark 0x1/0x1", ""},
		{"words in a comment", "-A PREROUTING -m comment --comment \"! -d 10.96.0.0/16 -j DNAT\" -p tcp -m tcp --dport 80 -j REDIRECT", "a:PREROUTING"},
		{"let go before", "-A PREROUTING -d 10.96.0.0/16 -j RETURN\n-A PREROUTING -j REDIRECT", "node:PREROUTING"},
		{"only some clients are let go before", "-A PREROUTING -s 10.0.0.0/8 -d 10.96.0.0/16 -j ACCEPT\n-A PREROUTING -j REDIRECT", all},
		{"another table", "COMMIT\n*mangle\n-A PREROUTING -j DNAT --to-destination 10.0.0.1", ""},
		{"a chain", "-A PREROUTING -p tcp -j X\n-A X -p udp -m udp --dport 80 -j REDIRECT\n-A X -p tcp -m tcp --dport 80 -j REDIRECT", "a:PREROUTING"},
		{"a chain to which nothing leads", "-A X -j REDIRECT", ""},
		{"a chain behind a set", "-A PREROUTING -m set --match-set x dst -j X\n-A X -j REDIRECT", ""},
		{"what a chain lets go comes back from it", "-A PREROUTING -j X\n-A PREROUTING -j REDIRECT\n-A X -j RETURN", all},
		{"what a chain accepts does not", "-A PREROUTING -j X\n-A PREROUTING -j REDIRECT\n-A X -d 10.96.0.0/16 -j ACCEPT", "node:PREROUTING"},
		{"nor what goes to a chain", "-A PREROUTING -d 10.96.0.0/16 -g X\n-A PREROUTING -j REDIRECT\n-A X -j LOG", "node:PREROUTING"},
		{"a loop, which the kernel refuses", "-A PREROUTING -j X\n-A X -j X\n-A X -j REDIRECT", all},
		{"as portmap writes it", portmap, "a:PREROUTING a:OUTPUT"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := "*nat\n:PREROUTING ACCEPT [0:0]\n" + c.rules + "\n" + ours +
				strings.ReplaceAll(ours, "PREROUTING", "OUTPUT") + "COMMIT\n"
			if got := taken(Captures(cluster.IPv4, "", text)); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// portmap is what the CNI's plug-in writes for a hostPort 80, and for one on one address of the node.
const portmap = `-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A OUTPUT -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \"net\" id: \"1\"" -m multiport --dports 80 -j CNI-DN-1
-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \"net\" id: \"2\"" -m multiport --dports 443 -j CNI-DN-2
-A CNI-DN-1 -s 10.244.1.0/24 -p tcp -m tcp --dport 80 -j CNI-HOSTPORT-SETMARK
-A CNI-DN-1 -s 127.0.0.1/32 -p tcp -m tcp --dport 80 -j CNI-HOSTPORT-SETMARK
-A CNI-DN-1 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.244.1.10:8080
-A CNI-DN-2 -d 192.168.50.7/32 -p tcp -m tcp --dport 443 -j DNAT --to-destination 10.244.1.11:8443
-A CNI-HOSTPORT-SETMARK -m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark 0x2000/0x2000`

// TestWhichRulesCount: without our jump nothing is ahead of it; of another program's tables everything counts.
func TestWhichRulesCount(t *testing.T) {
	const rules = "*nat\n-A PREROUTING -s 1.2.3.4/32 -j IPVSP-SERVICES\n-A PREROUTING -p tcp -m tcp --dport 80 -j REDIRECT\nCOMMIT\n"
	if got := taken(Captures(cluster.IPv4, "", rules)); got != "" {
		t.Errorf("without our jump: %q", got)
	}
	found := Captures(cluster.IPv4, "iptables-legacy", "*nat\n"+ours+strings.TrimPrefix(rules, "*nat\n"))
	if got := taken(found); got != "a:PREROUTING" {
		t.Errorf("of another program: %q", got)
	}
	want := "-A PREROUTING -p tcp -m tcp --dport 80 -j REDIRECT"
	if len(found) != 1 || found[0].Rule != want || found[0].Program != "iptables-legacy" {
		t.Errorf("%+v, want the rule %q", found, want)
	}
	if got := taken(Captures(cluster.IPv6, "", "*nat\n-A PREROUTING -d fd00:96::/112 -j REDIRECT\n"+
		ours)); got != "six:PREROUTING" {
		t.Errorf("IPv6: %q", got)
	}
}

// TestManyRulesCostAsTheyAre: however chains lead to each other, each rule is looked at a few times only, and a front
// end meets no more of them than that.
func TestManyRulesCostAsTheyAre(t *testing.T) {
	for _, n := range []int{1_000, 2_000} {
		var text strings.Builder
		text.WriteString("*nat\n")
		for i := range n { // all ways through a ladder would be 2 to the power of n
			fmt.Fprintf(&text, "-A %s -p tcp -j S%d\n-A %[1]s -j S%[2]d\n",
				map[bool]string{true: "PREROUTING", false: fmt.Sprint("S", i-1)}[i == 0], i)
		}
		text.WriteString(ours)
		w := &walk{
			chains: natChains(text.String()), parsed: map[string][]rule{}, left: visits * (2*n + 1), hook: "PREROUTING",
		}
		w.chain("PREROUTING", nil, nil)
		if w.left > 0 {
			t.Errorf("%d rules were not looked at: the ladder is none", w.left)
		}
		if len(w.parsed) > n+1 {
			t.Errorf("%d chains were read, of %d", len(w.parsed), n+1)
		}
	}
	var same []dataplane.Capture
	for range 10_000 {
		same = append(same,
			dataplane.Capture{Hook: "PREROUTING", To: dataplane.Destination{{Network: netip.MustParsePrefix("10.97.0.0/16")}}})
	}
	if got := dataplane.NewCaptures(same).Of(fronts["a"]); got != nil {
		t.Errorf("%+v", got)
	}
}

// TestOtherRulesAreOtherCaptures: what differs in the rule, on the way to it or in front of it is a change.
func TestOtherRulesAreOtherCaptures(t *testing.T) {
	read := func(rules string) dataplane.Captures {
		return dataplane.NewCaptures(Captures(cluster.IPv4, "", "*nat\n"+rules+"\n"+ours))
	}
	const rules = "-A PREROUTING -d 10.96.0.20/32 -j RETURN\n-A PREROUTING -p tcp -j X\n-A X -p tcp -m tcp --dport 80 -j REDIRECT"
	if !read(rules).Same(read(rules)) {
		t.Error("the same rules differ")
	}
	for _, change := range []string{
		"d 10.96.0.20/32|d 10.96.0.21/32", "--dport 80|--dport 443", "p tcp -j X|p udp -j X", "-j RETURN|-j LOG",
		"REDIRECT|REDIRECT --to-ports 8080",
	} {
		old, now, _ := strings.Cut(change, "|")
		if read(rules).Same(read(strings.Replace(rules, old, now, 1))) {
			t.Errorf("%s is no change", change)
		}
	}
	if diff := cmp.Diff(true, dataplane.Captures{}.Same(read(""))); diff != "" {
		t.Error("no rules differ from no rules")
	}
}

func FuzzCaptures(f *testing.F) {
	f.Add("*nat\n" + portmap + "\n" + ours)
	f.Add("*nat\n-A PREROUTING -g PREROUTING\n-A PREROUTING ! ! -p -d -j\n" + ours)
	f.Fuzz(func(t *testing.T, text string) {
		found := Captures(cluster.IPv4, "other", text)
		if lines := strings.Count(text, "\n") + 1; len(found) > visits*lines {
			t.Errorf("%d captures of %d lines", len(found), lines)
		}
		captures := dataplane.NewCaptures(found)
		for _, id := range fronts {
			for _, c := range captures.Of(id) {
				if !c.Takes(id) {
					t.Errorf("%+v does not take %s", c, id)
				}
			}
		}
	})
}
