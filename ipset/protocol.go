package ipset

import (
	"fmt"
	"strconv"
	"strings"
)

// Protocol is an IANA protocol number (6 TCP, 17 UDP, 132 SCTP).
type Protocol uint8

// The protocols that have ports.
const (
	TCP  Protocol = 6
	UDP  Protocol = 17
	SCTP Protocol = 132
)

// String returns the lower-case name.
func (p Protocol) String() string {
	switch p {
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	case SCTP:
		return "sctp"
	}
	return fmt.Sprintf("protocol(%d)", uint8(p))
}

// ParseProtocol reads tcp, udp or sctp in any case.
func ParseProtocol(text string) (Protocol, error) {
	for _, p := range []Protocol{TCP, UDP, SCTP} {
		if strings.EqualFold(text, p.String()) {
			return p, nil
		}
	}
	return 0, fmt.Errorf("protocol %q is not tcp, udp or sctp", text)
}

// keyword returns the name or number that ipset(8) writes.
func (p Protocol) keyword() string {
	if p == TCP || p == UDP || p == SCTP {
		return p.String()
	}
	return strconv.Itoa(int(p))
}
