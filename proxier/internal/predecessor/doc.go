// Package predecessor knows the service proxies whose place this one takes on a node: kube-proxy and kube-router. It
// knows how to see that one is alive, what one that is gone has left in the kernel, and how to remove that without
// touching what others own.
//
// Names of chains, sets and links are facts of their sources: kube-proxy 1.37.2 (pkg/proxy/ipvs, pkg/proxy/iptables,
// pkg/proxy/nftables) and kube-router 2.x (pkg/controllers/proxy). What kubelet owns (KUBE-FIREWALL,
// KUBE-KUBELET-CANARY, KUBE-IPTABLES-HINT, KUBE-MARK-DROP), and what kube-router's router and firewall own, is in none
// of the lists.
//
// The parts: names.go has the lists. rules.go decides from the text of iptables-save what goes. leftovers.go reads and
// removes. ledger.go says whose a virtual server is. alive.go and admit.go look for living proxies, writer.go for one
// that writes beside us. lock.go lets one ipvs-proxier run.
package predecessor
