package proxier

import (
	"slices"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"
)

// Default returns the configuration that is in force without flags and without a file.
func Default() Config {
	return Config{
		Link:            dataplane.DefaultLink,
		Netfilter:       kernel.AutoNetfilter,
		Iptables:        kernel.AutoVariant,
		MaxViewAge:      Duration{3 * time.Minute},    // three bookmarks
		VIPMode:         dataplane.ByAddress.String(), // what operators and other node agents expect
		DetectLocalMode: DetectClusterCIDR,
		WatchNodes:      AllNodes,
		NodeWeights:     AllNodes,
		ProtectedPorts:  slices.Clone(defaultProtected),
		Conntrack: Conntrack{
			MaxPerCore: 32768, Min: 131072,
			TCPEstablishedTimeout: Duration{24 * time.Hour}, TCPCloseWaitTimeout: Duration{time.Hour},
		},
		MasqueradeBit:      14, // kube-proxy's, known to be free
		DrainTimeout:       Duration{cluster.DefaultDrainTimeout},
		AuditPeriod:        Duration{10 * time.Minute}, // what others do to us is as a rule found within seconds without it
		ContestAfter:       5,                          // of one object, which is no chance
		ContestWindow:      Duration{10 * time.Minute},
		HealthzBindAddress: "0.0.0.0:10256",
		MetricsBindAddress: "127.0.0.1:10249",
		Socket:             runDirectory + "/ipvs-proxier.sock",
		StateDir:           runDirectory,
		LogLevel:           "info",
		LogFormat:          "text",
	}
}

// runDirectory is where a running proxier has what its commands need. It is gone with the next boot.
const runDirectory = "/run/ipvs-proxier"

// defaultProtected are the ports by which a node is managed: SSH (22), etcd (2379 to 2381), the API server (6443), the
// kubelet (10248, 10250, 10255), our own (10249, 10256), kube-controller-manager, cloud-controller-manager and
// kube-scheduler (10257 to 10259). By UDP they are those by which it gets its address, DHCP (68, 546), and by which it
// reaches other nodes' pods: VXLAN (4789, and 8472, Linux's own default, of flannel and Cilium), Geneve (6081), and
// WireGuard as flannel and Calico (51820, 51821) and Cilium (51871) use it. A Service that takes one of these takes the
// node off the network. DNS (53) and NTP (123) are not among them: Services serve them at the nodes' own addresses, as
// with k3s, and the node's own clients use other ports. Nothing of Kubernetes uses SCTP.
var defaultProtected = []string{
	"22", "2379-2381", "6443", "10248-10250", "10255-10259", "68/udp", "546/udp", "4789/udp", "6081/udp", "8472/udp",
	"51820-51821/udp", "51871/udp",
}
