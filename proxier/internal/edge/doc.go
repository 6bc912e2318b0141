// Package edge bounds what clients on the network may take of the proxier's HTTP servers: time, sizes, and the number
// of connections. Anybody who reaches a node may talk to them, and the kubelet and load balancers must be answered
// beside.
package edge
