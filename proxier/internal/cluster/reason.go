package cluster

// Reason is the kind of a Problem: a short CamelCase word that Events, metrics and status show.
type Reason string

// The reasons.
const (
	InvalidAnnotation       Reason = "InvalidAnnotation"       // the value of one of our annotations
	UnknownAnnotation       Reason = "UnknownAnnotation"       // a key under our prefix that does not exist
	InvalidField            Reason = "InvalidField"            // a field that the API server would not have let through
	ExternalIPNotAllowed    Reason = "ExternalIPNotAllowed"    // an external IP outside of the operator's networks
	SourceRangesOpen        Reason = "SourceRangesOpen"        // source ranges that leave a family open
	AddressInUse            Reason = "AddressInUse"            // an address that another machine, or the node, has
	BroadcastEndpoint       Reason = "BroadcastEndpoint"       // an endpoint at a broadcast address of the node's networks
	PortInUse               Reason = "PortInUse"               // a node port on which a program of the node listens
	NodeUnknown             Reason = "NodeUnknown"             // what depends on this Node, of which too little is known
	ForeignVirtualServer    Reason = "ForeignVirtualServer"    // somebody else's virtual server in an excluded network
	ForeignRule             Reason = "ForeignRule"             // somebody's rule takes packets before IPVS sees them
	RulesUnread             Reason = "RulesUnread"             // rules of others that could not be looked at
	FrontEndConflict        Reason = "FrontEndConflict"        // another Service has the same address, port and protocol
	UnsupportedScheduler    Reason = "UnsupportedScheduler"    // this node's kernel lacks the scheduler
	UnsuitableScheduler     Reason = "UnsuitableScheduler"     // a scheduler that hardly does what its author expects
	AnnotationConflict      Reason = "AnnotationConflict"      // an annotation of ours and its alias say different things
	ConnectionsLimited      Reason = "ConnectionsLimited"      // nearly as many connections as the node's kernel may have
	ConnectionTableSmall    Reason = "ConnectionTableSmall"    // a table that is too small for its connections
	NotListening            Reason = "NotListening"            // an address of the proxier's own on which it cannot serve
	AnnotationWithoutEffect Reason = "AnnotationWithoutEffect" // a good value that nothing goes by
	BeyondBudget            Reason = "BeyondBudget"            // more than one object may ask of a node
	BeyondNodeBudget        Reason = "BeyondNodeBudget"        // more than a Service may have here, or sets have room for
	KernelRefused           Reason = "KernelRefused"           // this node's kernel refuses an operation again and again
	NodeListsClusterIP      Reason = "NodeListsClusterIP"      // a Node that lists a cluster IP among its addresses
	NodeListsForeignAddress Reason = "NodeListsForeignAddress" // a Node that lists this node's address, or not its own
	MoreProblems            Reason = "MoreProblems"            // Problems that are not told one by one
	MoreNodeProblems        Reason = "MoreNodeProblems"        // such that are of one node alone
)

// OfNode tells that such a Problem is of one node alone: of its kernel, its programs, its addresses. The others come
// from what was written and from the configuration. Every node has them alike, word for word but for InForce.
func (r Reason) OfNode() bool {
	switch r {
	case AddressInUse, BroadcastEndpoint, PortInUse, NodeUnknown, ForeignVirtualServer, ForeignRule, RulesUnread,
		UnsupportedScheduler, ConnectionsLimited, ConnectionTableSmall, NotListening, BeyondNodeBudget, KernelRefused,
		NodeListsForeignAddress, MoreNodeProblems:
		return true
	}
	return false
}
