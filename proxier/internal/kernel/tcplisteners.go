package kernel

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// TCPListeners returns the TCP addresses on which somebody of this network namespace listens. inet_diag would list them
// as well, but it may be a module that is not loaded.
func TCPListeners() (found []netip.AddrPort, err error) {
	for _, file := range []string{"/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"} {
		text, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // no IPv6
		}
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			// "  0: 0100007F:2809 00000000:0000 0A ..."; 0A is TCP_LISTEN (include/net/tcp_states.h)
			if fields := strings.Fields(line); len(fields) > 3 && fields[3] == "0A" {
				if at, ok := parseHexAddr(fields[1]); ok {
					found = append(found, at)
				}
			}
		}
	}
	return found, nil
}

// parseHexAddr reads "0100007F:2809": words of four bytes in the machine's order, of the network's bytes.
func parseHexAddr(text string) (netip.AddrPort, bool) {
	address, portText, _ := strings.Cut(text, ":")
	port, err := strconv.ParseUint(portText, 16, 16)
	if err != nil || len(address) != 8 && len(address) != 32 {
		return netip.AddrPort{}, false
	}
	var b []byte
	for i := 0; i < len(address); i += 8 {
		word, err := strconv.ParseUint(address[i:i+8], 16, 32)
		if err != nil {
			return netip.AddrPort{}, false
		}
		b = binary.NativeEndian.AppendUint32(b, uint32(word))
	}
	addr, _ := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(addr.Unmap(), uint16(port)), true
}
