package engine

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// The reasons that are found here.
var (
	// nodeListsClusterIP: a Node that lists a cluster IP among its addresses.
	nodeListsClusterIP = cluster.Reason{Name: "NodeListsClusterIP"}
	// nodeListsForeignAddress: a Node that lists this node's address, or not its own.
	nodeListsForeignAddress = cluster.Reason{Name: "NodeListsForeignAddress", OfNode: true}
	// nodeListsServiceAddress: a Node that lists an external address of a Service.
	nodeListsServiceAddress = cluster.Reason{Name: "NodeListsServiceAddress"}
)

// nodeClaims are addresses that Nodes list and that are not theirs. The kubelet writes status.addresses with the node's
// own credential, so whoever has that credential may list any address: it takes nothing away from a cluster IP or from
// another node, and is reported on the Node.
type nodeClaims struct {
	// clusterIPs are the Services of whose cluster IPs a Node lists one, with the first such address.
	clusterIPs map[cluster.Name]nodeClaim
	// outside are those of whose external and load balancer addresses a Node lists one, with the first such address.
	outside map[cluster.Name]nodeClaim
	// stale says that Nodes, addresses or cluster IPs have changed since problems were written.
	stale bool
	// own are the Problems of this Node, others those of other Nodes, sorted by their names.
	own    []cluster.Problem
	others []Row
}

func newNodeClaims() nodeClaims {
	return nodeClaims{clusterIPs: map[cluster.Name]nodeClaim{}, outside: map[cluster.Name]nodeClaim{}, stale: true}
}

// nodeClaim is an address that a Node lists.
type nodeClaim struct {
	node string
	addr netip.Addr
}

// first returns the claim whose address comes first, so that all nodes report the same one.
func (c nodeClaim) first(other nodeClaim) nodeClaim {
	if c != (nodeClaim{}) && c.addr.Compare(other.addr) <= 0 {
		return c
	}
	return other
}

// note looks whether a Node lists one of the Service's cluster IPs.
func (c *nodeClaims) note(name cluster.Name, f dataplane.Fragment, at func(netip.Addr) string) {
	for _, front := range f.FrontEnds {
		if front.Kind != dataplane.ClusterIP {
			continue
		}
		if node := at(front.ID.Addr); node != "" {
			if claim := (nodeClaim{node, front.ID.Addr}); c.clusterIPs[name] != claim {
				c.clusterIPs[name], c.stale = claim, true
			}
			return
		}
	}
	c.drop(name)
}

// noteOutside notes that another Node lists the first of these addresses of the Service; the zero nodeClaim is none.
func (c *nodeClaims) noteOutside(name cluster.Name, claim nodeClaim) {
	if c.outside[name] == claim {
		return
	}
	c.stale = true
	if claim == (nodeClaim{}) {
		delete(c.outside, name)
		return
	}
	c.outside[name] = claim
}

func (c *nodeClaims) drop(name cluster.Name) {
	if _, claimed := c.clusterIPs[name]; claimed {
		delete(c.clusterIPs, name)
		c.stale = true
	}
}

// reportNodeClaims writes the Problems of all Nodes if something has changed since.
func (e *Engine) reportNodeClaims() {
	c := &e.claims
	if !c.stale {
		return
	}
	c.stale = false
	of := map[string]*cluster.Problems{}
	problem := func(node string, reason cluster.Reason, format string, args ...any) {
		if of[node] == nil {
			of[node] = &cluster.Problems{}
		}
		of[node].Addf(reason, "status.addresses", format, args...)
	}
	// In one order, because a Node has only so many Problems reported, and all nodes have to report the same.
	for _, name := range slices.SortedFunc(maps.Keys(c.clusterIPs), cluster.Name.Compare) {
		claim := c.clusterIPs[name]
		problem(claim.node, nodeListsClusterIP, "%s is the cluster IP of service %s, which keeps it",
			claim.addr, name)
	}
	for _, name := range slices.SortedFunc(maps.Keys(c.outside), cluster.Name.Compare) {
		claim := c.outside[name]
		problem(claim.node, nodeListsServiceAddress,
			"%s is an external address of service %s, too, which no other node serves there: one of the two should let go of it",
			claim.addr, name)
	}
	for _, addr := range e.node.Addresses {
		if node := e.lister.NodeAt(addr); node != "" {
			problem(node, nodeListsForeignAddress, "%s is an address of node %s, whose Services keep it there",
				addr, e.node.Name)
		}
	}
	if node := e.lister.Node(); node != nil {
		for _, a := range node.Status.Addresses {
			addr, is := addressOf(a)
			// A cloud may list an external address that it translates: the node need not have that one.
			if is && a.Type == v1.NodeInternalIP && !e.ownAddress(addr) {
				problem(e.node.Name, nodeListsForeignAddress,
					"no link of the node has its InternalIP %s: node ports are not served there", addr)
			}
		}
	}
	c.own, c.others = nil, nil
	for name, problems := range of {
		if name == e.node.Name {
			c.own = problems.Reported()
		} else {
			c.others = append(c.others, Row{UID: name, Problems: problems.Reported()})
		}
	}
	slices.SortFunc(c.others, func(a, b Row) int { return strings.Compare(a.UID, b.UID) })
}

// otherNode returns the name of another node that lists the address, unless this node has it: what other Nodes list
// does not take away what is here.
func (e *Engine) otherNode(addr netip.Addr) string {
	if e.ownAddress(addr) {
		return ""
	}
	return e.lister.NodeAt(addr)
}

// ownAddress reports whether a link of this node has the address. What its Node lists is written with the node's
// credential, and counts for nothing here: else an API server's address that is listed would count as the node's own.
func (e *Engine) ownAddress(addr netip.Addr) bool { return slices.Contains(e.node.Addresses, addr) }
