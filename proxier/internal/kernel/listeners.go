package kernel

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/internal/netlink"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// Numbers of sock_diag, from include/uapi/linux/sock_diag.h and inet_diag.h and include/net/tcp_states.h (Linux 6.1).
const (
	sockDiagByFamily = 20

	stateClose  = 1 << 7 // UDP sockets that are not connected
	stateListen = 1 << 10

	diagRequestSize = 56 // struct inet_diag_req_v2
)

// listeners lists the sockets of this network namespace that wait for clients. A kernel without inet_diag has none to
// show.
func listeners() ([]dataplane.Listener, error) {
	socket, err := netlink.Dial(unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, err
	}
	defer socket.Close()
	var found []dataplane.Listener
	for _, ask := range []struct {
		protocol cluster.Protocol
		states   uint32
	}{{cluster.TCP, stateListen}, {cluster.UDP, stateClose}, {cluster.SCTP, stateListen}} {
		for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
			var some []dataplane.Listener
			var b netlink.Batch
			b.Begin(sockDiagByFamily, 0)
			request := make([]byte, diagRequestSize)
			request[0], request[1] = family, uint8(ask.protocol)
			binary.NativeEndian.PutUint32(request[4:], ask.states)
			b.Raw(request...)
			b.End()
			err := socket.Dump(&b, func() { some = nil }, func(payload []byte) {
				if l, ok := parseListener(payload, ask.protocol); ok {
					some = append(some, l)
				}
			})
			if errors.Is(err, unix.ENOENT) {
				continue // the module is missing: SCTP's, as a rule
			}
			if err != nil {
				return nil, err
			}
			found = append(found, some...)
		}
	}
	return found, nil
}

// parseListener reads a struct inet_diag_msg.
func parseListener(payload []byte, protocol cluster.Protocol) (dataplane.Listener, bool) {
	const address = 8 // idiag_family, state, timer, retrans; source and destination port
	if len(payload) < address+16 {
		return dataplane.Listener{}, false
	}
	l := dataplane.Listener{Protocol: protocol, Port: netlink.Uint16BE(payload[4:])}
	if payload[0] == unix.AF_INET {
		l.Addr = netip.AddrFrom4([4]byte(payload[address:]))
	} else {
		l.Addr = netip.AddrFrom16([16]byte(payload[address:])).Unmap()
	}
	return l, l.Port != 0
}
