package nodecheck

import (
	"fmt"
	"strings"
)

var iptablesChecks = []Check{{
	Code: "IPX-221", Name: "IptablesMissing", Stops: true,
	Looks:       "whether the programs of iptables are installed",
	Consequence: "no rule can be written: nothing is programmed",
	Fix:         "apt-get install iptables (Debian and Ubuntu), dnf install iptables-nft (RHEL and Fedora)",
	evaluate: func(f Facts, _ Wanted) []result {
		if len(f.Programs) > 0 {
			return fails(strings.Join(f.Programs, ", ") + ": not installed")
		}
		return ok("iptables is installed (" + f.Iptables + ")")
	},
}, {
	Code: "IPX-222", Name: "IptablesVariant",
	Looks:       "whether kubelet uses the same variant of iptables, nft or legacy",
	Consequence: "rules of both are in force, and neither program sees the other one's: rules of others can take the packets of Services",
	Fix:         "start with --iptables=VARIANT where both are installed, or: update-alternatives --set iptables /usr/sbin/iptables-VARIANT",
	evaluate: func(f Facts, _ Wanted) []result {
		switch {
		case len(f.Programs) > 0:
			return nil
		case !f.KubeletChain.Known():
			return unknown("which variant of iptables kubelet uses: " + f.KubeletChain.Why)
		case f.KubeletChain.Value == "":
			return ok("kubelet has no chain that shows its iptables")
		case f.KubeletChain.Value != f.Iptables:
			fix := strings.ReplaceAll(
				"start with --iptables=V where both are installed, or: update-alternatives --set iptables /usr/sbin/iptables-V",
				"V", f.KubeletChain.Value)
			return by(fix, warns(fmt.Sprintf("kubelet's chains are those of %s, and this program uses %s",
				f.KubeletChain.Value, f.Iptables))...)
		}
		return ok("kubelet uses " + f.Iptables + ", too")
	},
}, {
	Code: "IPX-223", Name: "IPv6Missing",
	Looks:       "whether IPv6 can be served where the cluster has it",
	Consequence: "Services get no IPv6 address on this node",
	Fix:         "install ip6tables, or switch IPv6 on (ipv6.disable=0)",
	evaluate: func(f Facts, w Wanted) []result {
		switch {
		case f.IPv6 && f.IPv6Programs:
			return ok("IPv6 can be served")
		case !w.IPv6():
			return ok("IPv6 is not needed: no --cluster-cidr is of it")
		case f.IPv6:
			return fails("the node has IPv6 and no ip6tables, and --cluster-cidr names an IPv6 network")
		}
		return fails("the kernel has no IPv6 (/proc/net/if_inet6 is missing), and --cluster-cidr names an IPv6 network")
	},
}}
