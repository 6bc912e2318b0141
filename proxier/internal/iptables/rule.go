package iptables

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// rule is what one rule of the nat table does with packets for a front end.
type rule struct {
	text string
	// to is what their destination must be like.
	to dataplane.Destination
	// some says that it is for some clients only.
	some bool
	// action is what follows -j or -g.
	action string
	leaves bool // -g: what the chain does not decide does not come back
}

// matches are the modules whose options parse knows. A rule with another one is not evaluated: what a set, a mark or a
// program says of a packet is not in its text.
var matches = map[string]bool{
	"tcp": true, "udp": true, "sctp": true, "multiport": true, "addrtype": true, "comment": true, "conntrack": true,
	"state": true, "statistic": true, "owner": true,
}

// clientOptions narrow a rule to some clients, or some packets of a connection; the number is that of their words.
var clientOptions = map[string]int{
	"-s": 1, "-i": 1, "-o": 1, "--sport": 1, "--sports": 1, "--src-type": 1, "--ctstate": 1, "--state": 1, "--ctdir": 1,
	"--tcp-flags": 2, "--syn": 0, "--mode": 1, "--probability": 1, "--every": 1, "--packet": 1, "--uid-owner": 1,
	"--gid-owner": 1,
}

// parse reads a rule without its "-A CHAIN ". It is not known where something of its destination is not understood, and
// never where no packet for a front end can match it.
func parse(text string) (r rule, known, never bool) {
	r.text = text
	words := Split(text)
	not := false
	next := func() string {
		if len(words) == 0 {
			return ""
		}
		word := words[0]
		words = words[1:]
		return word
	}
	for len(words) > 0 {
		option := next()
		switch option {
		case "!":
			not = true
			continue
		case "-m":
			if !matches[next()] {
				return r, false, false
			}
		case "--comment":
			next()
		case "-j", "-g":
			// What stands behind belongs to the target.
			r.action, r.leaves = next(), option == "-g"
			return r, true, never
		case "-p", "-d", "--dport", "--dports":
			c, known, any := condition(option, next())
			if !known {
				return r, false, false
			}
			if c.Not = not; any {
				never = never || not
			} else {
				r.to = append(r.to, c)
			}
		case "--dst-type":
			// Service addresses are local ones, whether they are on a link or in a route.
			local := slices.Contains(strings.Split(next(), ","), "LOCAL")
			never = never || local == not
		default:
			n, is := clientOptions[option]
			if !is {
				return r, false, false
			}
			for range n {
				next()
			}
			r.some = true
		}
		not = false
	}
	return r, true, never
}

// condition reads the value of an option about the destination. Any says that every front end meets it.
func condition(option, value string) (c dataplane.Condition, known, any bool) {
	switch option {
	case "-p":
		return protocol(value)
	case "-d":
		network, err := netip.ParsePrefix(value)
		if addr, single := netip.ParseAddr(value); err != nil && single == nil {
			network, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		c.Network = network
		return c, err == nil, false
	}
	for _, part := range strings.Split(value, ",") {
		from, to, isRange := strings.Cut(part, ":")
		if !isRange {
			to = from
		}
		low, err1 := strconv.ParseUint(from, 10, 16)
		high, err2 := strconv.ParseUint(to, 10, 16)
		if err1 != nil || err2 != nil {
			return c, false, false
		}
		c.Ports = append(c.Ports, [2]uint16{uint16(low), uint16(high)})
	}
	return c, true, false
}

// protocol reads the value of -p. What is no protocol of Services has its own number, or 255, which none has.
func protocol(value string) (c dataplane.Condition, known, any bool) {
	switch value {
	case "all", "0":
		return c, true, true
	case "tcp":
		c.Protocol = cluster.TCP
	case "udp":
		c.Protocol = cluster.UDP
	case "sctp":
		c.Protocol = cluster.SCTP
	default:
		c.Protocol = 255
		if n, err := strconv.ParseUint(value, 10, 8); err == nil {
			c.Protocol = cluster.Protocol(n)
		}
	}
	return c, true, false
}
