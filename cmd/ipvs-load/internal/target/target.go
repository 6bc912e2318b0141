// Package target reads the addresses on ipvs-load's command line: where requests go and where a server listens.
package target

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Protocol is the transport of a target.
type Protocol uint8

// The protocols that a scheme can name.
const (
	TCP Protocol = iota
	UDP
	SCTP
)

var protocolNames = []string{"tcp", "udp", "sctp"}

func (p Protocol) String() string { return protocolNames[p] }

// Target is one place that requests go to, or one that a server listens on.
type Target struct {
	Protocol Protocol
	Addr     netip.AddrPort // IPv4 is never in IPv6 form
}

// String gives the form that Parse reads.
func (t Target) String() string { return t.Protocol.String() + "://" + t.Addr.String() }

// Parse reads "tcp://10.96.0.10:80" or "udp://[fd00::1]:53". The host is an address: resolving a name would put DNS
// into what is measured, and would leave open which of several addresses was meant.
func Parse(s string) (Target, error) {
	t, err := parse(s)
	if err != nil {
		return Target{}, fmt.Errorf("target %q: %w", s, err)
	}
	switch {
	case t.Addr.Addr().IsUnspecified():
		return Target{}, fmt.Errorf("target %q: %s is no address to send to; give the Service's or the endpoint's own",
			s, t.Addr.Addr())
	case t.Addr.Addr().IsMulticast():
		return Target{}, fmt.Errorf("target %q: %s is a multicast address; a target is one host", s, t.Addr.Addr())
	case t.Addr.Port() == 0:
		return Target{}, fmt.Errorf("target %q: port 0 is no port to send to; allowed are 1 to 65535", s)
	}
	return t, nil
}

// ParseListen reads what a server listens on: like Parse, but the host may be unspecified ("tcp://0.0.0.0:80" for every
// IPv4 address, "tcp://[::]:80" or "tcp://:80" for every address of both families), and port 0 lets the kernel choose.
func ParseListen(s string) (Target, error) {
	if scheme, port, found := strings.Cut(s, "://:"); found {
		s = scheme + "://[::]:" + port
	}
	t, err := parse(s)
	if err != nil {
		return Target{}, fmt.Errorf("listen address %q: %w", s, err)
	}
	if t.Addr.Addr().IsMulticast() {
		return Target{}, fmt.Errorf("listen address %q: %s is a multicast address", s, t.Addr.Addr())
	}
	return t, nil
}

func parse(s string) (Target, error) {
	scheme, rest, found := strings.Cut(s, "://")
	if !found {
		return Target{}, errors.New("it has no scheme; write tcp://ADDRESS:PORT, udp://ADDRESS:PORT or sctp://ADDRESS:PORT")
	}
	var t Target
	number := slices.Index(protocolNames, scheme)
	if number < 0 {
		return Target{}, fmt.Errorf("scheme %q is not known; allowed are tcp, udp and sctp", scheme)
	}
	t.Protocol = Protocol(number)
	host, port, err := splitHostPort(rest)
	if err != nil {
		return Target{}, err
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return Target{}, NameError(host)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return Target{}, fmt.Errorf("port %q is not a number from 0 to 65535", port)
	}
	t.Addr = netip.AddrPortFrom(addr.Unmap(), uint16(n))
	return t, nil
}

// NameError is a host that is no address. A caller that may query DNS can say what to write instead.
type NameError string

func (e NameError) Error() string {
	return fmt.Sprintf("host %q is not an IPv4 or IPv6 address; names are not resolved", string(e))
}

// splitHostPort wants IPv6 in brackets, as every URL does: without them the port cannot be distinguished from the last
// group.
func splitHostPort(s string) (host, port string, err error) {
	if inside, found := strings.CutPrefix(s, "["); found {
		host, port, found = strings.Cut(inside, "]:")
		if !found {
			return "", "", errors.New("it needs [ADDRESS]:PORT after the scheme")
		}
		if !strings.Contains(host, ":") {
			return "", "", fmt.Errorf("brackets are for IPv6, and %q is not", host)
		}
		return host, port, nil
	}
	host, port, found := strings.Cut(s, ":")
	switch {
	case !found:
		return "", "", errors.New("it has no port; write ADDRESS:PORT after the scheme, and nothing behind it")
	case strings.Contains(port, ":"):
		return "", "", errors.New("an IPv6 address stands in brackets: [ADDRESS]:PORT")
	}
	return host, port, nil
}
