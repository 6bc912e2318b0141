// Package topology builds the network of a small cluster out of network namespaces on one kernel: nodes with a pod
// network each, pods, and a host outside of the cluster, all on one LAN.
//
//	outside        node1             node2
//	192.168.50.99  192.168.50.1      192.168.50.2       LAN, a bridge in a namespace of its own; fd00:50::/64
//	               10.244.1.1        10.244.2.1         gateways of the pods; fd00:10:244:N::/64
//	               pods 10.244.1.x   pods 10.244.2.x
//
// Each pod hangs on a link of its own, so that what pods of one node say to each other passes through the node, as most
// network plugins have it; on a plain bridge, answers would find a shorter way, past IPVS.
//
// Nodes forward and know the way to each other's pods. The host outside sends what is for the service networks
// 10.96.0.0/16 and fd00:10:96::/112 through node1. No program is started for any of it, because on the slow kernels
// that tests get, starting one is dear.
package topology
