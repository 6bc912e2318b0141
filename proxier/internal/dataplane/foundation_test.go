package dataplane_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ipvs-proxier/ipvs-proxier/internal/golden"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/iptables"
)

// TestFoundationGolden pins every rule, set and sysctl that a node gets, in the variants that an operator can choose.
func TestFoundationGolden(t *testing.T) {
	masqueradeAll, bare, strict := config, config, config
	masqueradeAll.MasqueradeAll = true
	bare.Pods, bare.Families = dataplane.Pods{}, []cluster.Family{cluster.IPv4}
	bare.Facts = dataplane.Facts{KernelMajor: 4, KernelMinor: 19, RandomFully: true}
	strict.StrictARP, strict.MasqueradeMark, strict.Families = true, 1<<3, []cluster.Family{cluster.IPv6}
	bridge, prefix := bare, bare
	bridge.Pods.Bridge, bridge.AnswerPing, bridge.MasqueradePorts = "cbr0", true, [2]uint16{32768, 65535}
	prefix.Pods.InterfacePrefix = "cali"
	for name, c := range map[string]dataplane.Config{
		"bridge-ping-ports": bridge, "interface-prefix": prefix, "default": config, "masquerade-all": masqueradeAll,
		"old-kernel-no-cidr": bare, "strict-arp-bit-3": strict,
	} {
		t.Run(name, func(t *testing.T) {
			golden.Compare(t, "testdata/foundation-"+name+".txt", dataplane.Foundation(c).TextIn(iptables.Words{}))
		})
	}
}

// TestSysctls: which parameters are set depends on the kernel's version, the families and what the operator chose.
func TestSysctls(t *testing.T) {
	always := map[string]string{
		"net.ipv4.vs.conntrack": "1", "net.ipv4.vs.expire_nodest_conn": "1", "net.ipv4.vs.expire_quiescent_template": "1",
		"net.ipv4.ip_forward": "1",
	}
	v4, both := []cluster.Family{cluster.IPv4}, []cluster.Family{cluster.IPv4, cluster.IPv6}
	for _, c := range []struct {
		name         string
		major, minor int
		config       dataplane.Config
		more         map[string]string
	}{
		{"a version that cannot be read", 0, 0, dataplane.Config{Families: v4}, nil},
		{"before conn_reuse_mode", 4, 0, dataplane.Config{Families: v4}, nil},
		{"the first one with conn_reuse_mode", 4, 1, dataplane.Config{Families: v4}, map[string]string{"net.ipv4.vs.conn_reuse_mode": "0"}},
		{"the last one where conn_reuse_mode harms", 5, 8, dataplane.Config{Families: v4}, map[string]string{"net.ipv4.vs.conn_reuse_mode": "0"}},
		{"the first one where it does not", 5, 9, dataplane.Config{Families: v4}, nil},
		{"the present", 6, 12, dataplane.Config{Families: v4}, nil},
		{"both families", 6, 12, dataplane.Config{Families: both}, map[string]string{"net.ipv6.conf.all.forwarding": "1"}},
		{"strict ARP", 6, 12, dataplane.Config{Families: v4, StrictARP: true}, map[string]string{"net.ipv4.conf.all.arp_ignore": "1", "net.ipv4.conf.all.arp_announce": "2"}},
		{"one timeout", 6, 12, dataplane.Config{Families: v4, UDPTimeout: time.Minute}, map[string]string{"ipvs.timeout.udp": "60"}},
		{"all timeouts", 6, 12, dataplane.Config{
			Families: v4, TCPTimeout: 2 * time.Hour, TCPFinTimeout: time.Second, UDPTimeout: 90 * time.Second,
		},
			map[string]string{"ipvs.timeout.tcp": "7200", "ipvs.timeout.tcpfin": "1", "ipvs.timeout.udp": "90"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := maps.Clone(always)
			maps.Copy(want, c.more)
			c.config.Facts = dataplane.Facts{KernelMajor: c.major, KernelMinor: c.minor}
			if diff := cmp.Diff(want, dataplane.Foundation(c.config).Sysctls); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestJumpsLeadBack: chains are made in the order of their names within a table, so a chain must sort after those it
// jumps to; and they are written one restore each family, so every jump must lead to a chain of ours.
func TestJumpsLeadBack(t *testing.T) {
	foundation := dataplane.Foundation(config)
	for id, chain := range foundation.Chains {
		for _, jump := range chain.Jumps {
			target := dataplane.ChainID{Family: id.Family, Table: id.Table, Name: jump}
			if _, ours := foundation.Chains[target]; !ours {
				t.Errorf("%s jumps to %s, which is not ours", id, jump)
			}
			if jump > id.Name {
				t.Errorf("%s jumps to %s, which is made later", id, jump)
			}
		}
		for _, set := range chain.Sets {
			if _, ours := foundation.Sets[set]; !ours {
				t.Errorf("%s names the set %s, which is not ours", id, set)
			}
		}
		if len(id.Name) > 28 {
			t.Errorf("%s: a chain's name has at most 28 bytes", id)
		}
	}
	for name := range foundation.Sets {
		if len(name) > 31 {
			t.Errorf("%s: a set's name has at most 31 bytes", name)
		}
	}
}

// TestPhases: operations of one rank may go out together, those of a later rank wait.
func TestPhases(t *testing.T) {
	want := dataplane.Foundation(config)
	ops := dataplane.Diff(dataplane.NewState(), want, dataplane.All(nil, want))
	var again []dataplane.Op
	last := dataplane.Rank(-1)
	for _, phase := range dataplane.Phases(ops) {
		for _, op := range phase {
			if op.Rank() != phase[0].Rank() {
				t.Errorf("%s and %s share a phase", op, phase[0])
			}
		}
		if phase[0].Rank() <= last {
			t.Errorf("the phase of %s comes after one of rank %d", phase[0], last)
		}
		last = phase[0].Rank()
		again = append(again, phase...)
	}
	if !slices.EqualFunc(ops, again, func(a, b dataplane.Op) bool { return a.String() == b.String() }) {
		t.Error("Phases does not keep all operations in their order")
	}
}

// TestOwnTablesHaveNoRulesThatOnlyAccept, and lack nothing else.
func TestOwnTablesHaveNoRulesThatOnlyAccept(t *testing.T) {
	config := dataplane.Config{Families: []cluster.Family{cluster.IPv4, cluster.IPv6}}
	usual := dataplane.Foundation(config)
	config.Facts.OwnTables = true
	own := dataplane.Foundation(config)
	for hook := range usual.Hooks {
		_, there := own.Hooks[hook]
		if only := hook.Chain.Name == dataplane.ChainReplies || hook.Chain.Name == dataplane.ChainAccept; there == only {
			t.Errorf("hook %s: there %v", hook, there)
		}
	}
	if len(own.Chains) != len(usual.Chains)-4 || len(own.Violations()) > 0 {
		t.Errorf("%d chains of %d, %v", len(own.Chains), len(usual.Chains), own.Violations())
	}
}
