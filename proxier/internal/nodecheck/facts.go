package nodecheck

import (
	"net/netip"
	"time"
)

// Maybe is a fact, or the reason why it is not known.
type Maybe[T any] struct {
	Value T
	// Why says why the value is not known; it is empty where it is.
	Why string
}

// Is returns a fact that is known.
func Is[T any](value T) Maybe[T] { return Maybe[T]{Value: value} }

// Not returns a fact that is not known, with the reason.
func Not[T any](why string) Maybe[T] { return Maybe[T]{Why: why} }

// Known reports whether the value is known.
func (m Maybe[T]) Known() bool { return m.Why == "" }

// Facts is what was read of a node. Nothing is written to read it, and no module is loaded.
type Facts struct {
	// Kernel is its release, such as "6.12.3-amd64".
	Kernel string
	// Modules is the state of each module of [Modules]; one that is not there is not known. ModulesWhy says why.
	Modules    map[string]ModuleState
	ModulesWhy string

	// Capabilities are the effective ones of this process, a bit for each.
	Capabilities Maybe[uint64]
	// UserNamespace says that this process is in a user namespace of its own; UIDMap is its /proc/self/uid_map.
	UserNamespace bool
	UIDMap        string
	// SELinux is the type of this process ("container_t") where SELinux enforces; empty where it does not.
	SELinux string
	// Sysctls are those of [Wanted.Sysctls].
	Sysctls map[string]Sysctl

	// Programs are the missing ones of iptables.
	Programs []string
	// Iptables is the variant that this program uses, "nft" or "legacy".
	Iptables string
	// KubeletChain is the variant in which kubelet's own chain is; empty where there is none.
	KubeletChain Maybe[string]
	// IPv6 says that the kernel has it; IPv6Programs, that ip6tables is there.
	IPv6, IPv6Programs bool

	Bridges Maybe[[]Bridge]
	// Proxies are other service proxies that are alive.
	Proxies []Proxy
	// Running says, where another ipvs-proxier runs on the node, which.
	Running string
	// Listening are the TCP addresses on which somebody listens.
	Listening Maybe[[]netip.AddrPort]

	// LocalPorts are the ports that the kernel gives to connections of the node itself; of these Reserved are left out.
	LocalPorts Maybe[Range]
	Reserved   []Range
	// NodePorts are those of all Services.
	NodePorts Maybe[[]uint16]

	Conntrack   Maybe[Conntrack]
	Connections Maybe[Connections]

	// Source says why there is no source of Services; empty where there is one.
	Source string
	// Servers are the API servers, in the order in which they are tried; none with --manifests.
	Servers []Server
	// Access is what the API allows, by [Permissions]; Node says whether it has this Node. KubernetesIPs are the
	// addresses of the Service default/kubernetes. They are nil or not known where no server answers.
	Access        map[Permission]Maybe[bool]
	Node          Maybe[bool]
	KubernetesIPs []netip.Addr
}

// ModuleState is how a module of the kernel is there.
type ModuleState string

// The states of modules. The empty one is not known.
const (
	Loaded   ModuleState = "loaded"
	BuiltIn  ModuleState = "built in"
	Loadable ModuleState = "loadable"
	Absent   ModuleState = "absent"
)

// Sysctl is a kernel parameter.
type Sysctl struct {
	// Value is what it is now. Missing says that this kernel has it not, or not yet: the module is not loaded.
	Value   string
	Missing bool
	// ReadOnly says why it cannot be written; empty where it can.
	ReadOnly string
}

// Bridge is a bridge with ports.
type Bridge struct {
	Name      string
	Addresses []netip.Prefix
	// Calls4 and Calls6 report whether what passes between its ports goes through iptables and ip6tables.
	Calls4, Calls6 bool
}

// Proxy is another service proxy that is alive.
type Proxy struct{ Name, Sign string }

// Range is a range of ports, first and last.
type Range struct{ First, Last uint16 }

// Holds reports whether the port is in the range. The zero range holds none.
func (r Range) Holds(port uint16) bool { return r != Range{} && r.First <= port && port <= r.Last }

// Conntrack is the table of connection tracking.
type Conntrack struct {
	Count, Max int
	// Wanted is what Max is raised to; 0 is that it is left alone. Settable says whether this process can.
	Wanted   int
	Settable bool
}

// Connections is IPVS's table of connections.
type Connections struct {
	// Count is how many there are, as far as real servers count them.
	Count int
	// Grows says that the table grows with them (Linux 7.1); else it has Buckets.
	Grows   bool
	Buckets int
	// Max is how many may be (conn_max, Linux 7.2); 0 is no limit.
	Max int
}

// Server is an API server.
type Server struct {
	URL string
	// Err says why it does not answer; empty where it does. Status is the HTTP status of its answer.
	Err    string
	Status int
	// Ahead is how far its clock is ahead of this node's, to a second or two.
	Ahead Maybe[time.Duration]
}

// Answers reports whether the server is there and lets us in.
func (s Server) Answers() bool { return s.Err == "" && s.Status != 401 }
