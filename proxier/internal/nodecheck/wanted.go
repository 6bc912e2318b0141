package nodecheck

import (
	"net/netip"
	"slices"

	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// Wanted is what the configuration asks of the node.
type Wanted struct {
	NodeName string
	// Schedulers are those that the configuration names, and those of Services that choose none, by the kernel's names.
	Schedulers []string
	// Sysctls are the parameters that are kept in force, by name, with their values.
	Sysctls map[string]string
	// ClusterCIDRs are the networks of the pods, and PodBridge their bridge; empty where the configuration does not
	// say.
	ClusterCIDRs []netip.Prefix
	PodBridge    string
	// Dummy says that a dummy link carries the service addresses.
	Dummy bool
	// TakeOver names the proxy whose end is waited for.
	TakeOver string
	// Binds are the addresses on which this program listens, by the flag that names each.
	Binds map[string]netip.AddrPort
	// MasqueradePorts are the source ports that masquerading may take; the zero range is no limit.
	MasqueradePorts Range
	// NFTables says that nftables holds sets and rules: then nothing of iptables and ipset is needed.
	NFTables bool
	// Manifests says that Services come from files.
	Manifests bool
}

// IPv6 reports whether the configuration names a network of pods of this family.
func (w Wanted) IPv6() bool {
	return slices.ContainsFunc(w.ClusterCIDRs, func(p netip.Prefix) bool { return p.Addr().Is6() })
}

// Permission is what the API server must allow, as a rule of a ClusterRole has it.
type Permission struct{ Group, Resource, Verb string }

// String returns "list endpointslices.discovery.k8s.io".
func (p Permission) String() string {
	if p.Group == "" {
		return p.Verb + " " + p.Resource
	}
	return p.Verb + " " + p.Resource + "." + p.Group
}

// Permissions are all that this program asks for. deploy/ipvs-proxier.yaml gives these and no others.
var Permissions = []Permission{
	{"", "services", "list"}, {"", "services", "watch"},
	{"discovery.k8s.io", "endpointslices", "list"}, {"discovery.k8s.io", "endpointslices", "watch"},
	{"", "nodes", "list"}, {"", "nodes", "watch"},
	{"events.k8s.io", "events", "create"},
}

// The modules that are needed, by what misses them.
var (
	setModules = []string{
		"ip_set", "ip_set_hash_ip", "ip_set_hash_ipport", "ip_set_hash_ipportip", "ip_set_hash_ipportnet", "ip_set_hash_net",
		"ip_set_bitmap_port",
	}
	ruleModules = []string{"xt_set", "xt_addrtype", "xt_conntrack", "xt_mark", "nf_nat", "nf_conntrack"}
)

const (
	ipvsModule      = "ip_vs"
	ipvsMatch       = "xt_ipvs"
	conntrackEvents = "nf_conntrack_netlink"
	dummyModule     = "dummy"
	bridgeModule    = "br_netfilter"
)

// Modules returns all modules whose state is checked.
func Modules() []string {
	all := slices.Concat([]string{ipvsModule, ipvsMatch, conntrackEvents, dummyModule, bridgeModule}, setModules,
		ruleModules)
	for _, name := range scheduler.KernelNames() {
		all = append(all, schedulerModule(name))
	}
	return all
}

func schedulerModule(name string) string { return "ip_vs_" + name }
