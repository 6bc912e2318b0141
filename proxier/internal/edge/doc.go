// Package edge bounds what clients on the network may take of the proxier's HTTP servers: time, sizes, and the number
// of connections. Any client that reaches the node may connect to them, and the kubelet and load balancers must still
// be answered.
package edge
