package proxier

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// PortRange is a range of ports that is written as text in JSON and YAML: "32768-65535", or "" for none.
type PortRange struct{ First, Last uint16 }

// String returns "first-last", or "".
func (r PortRange) String() string {
	if r == (PortRange{}) {
		return ""
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// MarshalText implements encoding.TextMarshaler.
func (r PortRange) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *PortRange) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*r = PortRange{}
		return nil
	}
	from, to, _ := strings.Cut(string(text), "-")
	first, err := strconv.ParseUint(from, 10, 16)
	last, err2 := strconv.ParseUint(to, 10, 16)
	if err != nil || err2 != nil || first == 0 || first > last {
		return fmt.Errorf("%q is not a range of ports such as 32768-65535", text)
	}
	r.First, r.Last = uint16(first), uint16(last)
	return nil
}

// protocolPorts are ports of a protocol.
type protocolPorts struct {
	protocol cluster.Protocol
	PortRange
}

// parsePorts reads ports, and ranges of them, with a protocol behind a slash or TCP.
func parsePorts(texts []string) ([]protocolPorts, error) {
	var all []protocolPorts
	for _, text := range texts {
		written := strings.TrimSpace(text)
		ports, protocol, named := strings.Cut(written, "/")
		if !strings.Contains(ports, "-") {
			ports = ports + "-" + ports
		}
		parsed := protocolPorts{protocol: cluster.TCP}
		err := parsed.UnmarshalText([]byte(ports))
		if named && err == nil {
			parsed.protocol, err = ipset.ParseProtocol(protocol)
		}
		if err != nil {
			return nil, fmt.Errorf("%q is not a port such as 22, nor a range of ports such as 2379-2381, "+
				"nor one of them with tcp, udp or sctp such as 4789/udp", written)
		}
		all = append(all, parsed)
	}
	return all, nil
}

// Set implements pflag.Value.
func (r *PortRange) Set(text string) error { return r.UnmarshalText([]byte(text)) }

// Type implements pflag.Value.
func (r *PortRange) Type() string { return "ports" }

// Contains reports whether the port is in the range.
func (r PortRange) Contains(port uint16) bool {
	return port != 0 && r.First <= port && port <= r.Last
}
