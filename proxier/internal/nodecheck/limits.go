package nodecheck

import (
	"fmt"
	"slices"
	"strings"
)

// The bounds of the checks on tables. A table of connections that does not grow is small below the buckets that Debian
// builds in, or with more connections than that for each bucket.
const (
	fewBuckets    = 1 << 12
	mostPerBucket = 4
)

var limitChecks = []Check{{
	Code: "IPX-241", Name: "NodePortMasqueraded",
	Looks:       "whether the source ports that masquerading may take (`--masquerade-ports`) hold node ports",
	Consequence: "should connection tracking forget a connection that got such a port, its answers are taken for requests to the node port",
	Fix:         "start with --masquerade-ports outside of the API server's --service-node-port-range",
	evaluate: func(f Facts, w Wanted) []result {
		if !f.NodePorts.Known() {
			return unknown("node ports: " + f.NodePorts.Why)
		}
		if w.MasqueradePorts == (Range{}) {
			return ok("--masquerade-ports is empty, as by default: masquerading may take every port")
		}
		if held := within(f.NodePorts.Value, w.MasqueradePorts); len(held) > 0 {
			return fails(fmt.Sprintf("--masquerade-ports=%d-%d holds node ports of Services: %s",
				w.MasqueradePorts.First, w.MasqueradePorts.Last, ports(held)))
		}
		return ok("masquerading takes no node port")
	},
}, {
	Code: "IPX-242", Name: "NodePortLocal",
	Looks:       "whether the node gives node ports to its own connections (`net.ipv4.ip_local_port_range`)",
	Consequence: "the answer to a connection of the node itself that got such a port is taken for a request to the node port",
	Fix:         "sysctl -w net.ipv4.ip_local_reserved_ports=30000-32767, and in /etc/sysctl.d",
	evaluate: func(f Facts, _ Wanted) []result {
		switch {
		case !f.LocalPorts.Known():
			return unknown("ports of the node's own connections: " + f.LocalPorts.Why)
		case !f.NodePorts.Known():
			return unknown("node ports: " + f.NodePorts.Why)
		}
		held := slices.DeleteFunc(within(f.NodePorts.Value, f.LocalPorts.Value), func(port uint16) bool {
			return slices.ContainsFunc(f.Reserved, func(r Range) bool { return r.Holds(port) })
		})
		if len(held) > 0 {
			return warns(fmt.Sprintf("net.ipv4.ip_local_port_range is %d-%d, and holds node ports of Services: %s",
				f.LocalPorts.Value.First, f.LocalPorts.Value.Last, ports(held)))
		}
		return ok("the node's own connections take no node port")
	},
}, {
	Code: "IPX-243", Name: "ConntrackSmall",
	Looks:       "whether the limit of tracked connections can be raised to what `--conntrack-max-per-core` asks for",
	Consequence: "more connections than that are dropped, of the whole node",
	Fix:         "in the node's own network namespace: sysctl -w net.netfilter.nf_conntrack_max=N; or leave it: --conntrack-max-per-core=0",
	evaluate: func(f Facts, _ Wanted) []result {
		c := f.Conntrack
		switch {
		case !c.Known():
			return unknown("connection tracking: " + c.Why)
		case c.Value.Max < c.Value.Wanted && !c.Value.Settable:
			return by(fmt.Sprintf("in the node's own network namespace: sysctl -w net.netfilter.nf_conntrack_max=%d; or leave it: --conntrack-max-per-core=0", c.Value.Wanted),
				warns(fmt.Sprintf("nf_conntrack_max is %d, below %d, and cannot be raised from here",
					c.Value.Max, c.Value.Wanted))...)
		}
		return ok(fmt.Sprintf("%d connections may be tracked", max(c.Value.Max, c.Value.Wanted)))
	},
}, {
	Code: "IPX-244", Name: "ConntrackFull",
	Looks:       "whether nine tenths of the tracked connections that there may be are there",
	Consequence: "new connections of the whole node are dropped when the table is full (dmesg: nf_conntrack: table full)",
	Fix:         "sysctl -w net.netfilter.nf_conntrack_max=N",
	evaluate: func(f Facts, _ Wanted) []result {
		c := f.Conntrack
		switch {
		case !c.Known():
			return unknown("connection tracking: " + c.Why)
		case c.Value.Max > 0 && c.Value.Count*10 >= c.Value.Max*9:
			return by(fmt.Sprintf("sysctl -w net.netfilter.nf_conntrack_max=%d", 2*c.Value.Max),
				warns(fmt.Sprintf("%d connections are tracked, of %d at most", c.Value.Count, c.Value.Max))...)
		}
		return ok(fmt.Sprintf("%d connections are tracked, of %d at most", c.Value.Count, c.Value.Max))
	},
}, {
	Code: "IPX-245", Name: "ConnectionTableSmall",
	Looks:       "whether IPVS's table of connections is large enough (`conn_tab_bits`; up to Linux 7.0 it does not grow)",
	Consequence: "each packet looks at many connections: everything gets slower, and nothing is refused",
	Fix:         "echo options ip_vs conn_tab_bits=20 > /etc/modprobe.d/ip_vs.conf, and start the node anew",
	evaluate: func(f Facts, _ Wanted) []result {
		c := f.Connections
		switch {
		case !c.Known():
			return unknown("IPVS's table of connections: " + c.Why)
		case c.Value.Grows:
			return ok("IPVS's table of connections grows")
		case c.Value.Buckets < fewBuckets:
			return warns(fmt.Sprintf("the table has %d buckets", c.Value.Buckets))
		case c.Value.Count > mostPerBucket*c.Value.Buckets:
			return warns(fmt.Sprintf("the table has %d buckets and %d connections", c.Value.Buckets, c.Value.Count))
		}
		return ok(fmt.Sprintf("IPVS's table has %d buckets and %d connections", c.Value.Buckets, c.Value.Count))
	},
}, {
	Code: "IPX-246", Name: "ConnectionsLimited",
	Looks:       "whether nine tenths of the connections that IPVS may have (`net.ipv4.vs.conn_max`, Linux 7.2) are there",
	Consequence: "IPVS drops each connection beyond",
	Fix:         "sysctl -w net.ipv4.vs.conn_max=N",
	evaluate: func(f Facts, _ Wanted) []result {
		c := f.Connections
		switch {
		case !c.Known() || c.Value.Max == 0:
			return nil
		case c.Value.Count*10 >= c.Value.Max*9:
			return by(fmt.Sprintf("sysctl -w net.ipv4.vs.conn_max=%d", 2*c.Value.Max),
				warns(fmt.Sprintf("IPVS has %d connections, of %d at most", c.Value.Count, c.Value.Max))...)
		}
		return ok(fmt.Sprintf("IPVS has %d connections, of %d at most", c.Value.Count, c.Value.Max))
	},
}}

func within(ports []uint16, r Range) (held []uint16) {
	for _, port := range ports {
		if r.Holds(port) {
			held = append(held, port)
		}
	}
	return held
}

// ports names the first few.
func ports(all []uint16) string {
	const few = 5
	all = slices.Clone(all)
	slices.Sort(all)
	var texts []string
	for _, port := range all[:min(few, len(all))] {
		texts = append(texts, fmt.Sprint(port))
	}
	if len(all) > few {
		texts = append(texts, fmt.Sprintf("%d more", len(all)-few))
	}
	return strings.Join(texts, ", ")
}
