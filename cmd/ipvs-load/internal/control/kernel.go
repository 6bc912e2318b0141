package control

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// procPath is the kernel's table of virtual servers of this network namespace (net/netfilter/ipvs/ip_vs_ctl.c,
// ip_vs_info_seq_show: addresses and ports in hexadecimal, an arrow before each real server, then the weight).
const procPath = "/proc/net/ip_vs"

// virtualServer is one of TCP, with its real servers.
type virtualServer struct {
	at   netip.AddrPort
	real []netip.AddrPort
}

// table is what the kernel has: the real servers with a weight above 0, by virtual server. One that drains does not
// count.
type table map[netip.AddrPort][]netip.AddrPort

func readTable() (table, error) {
	f, err := os.Open(procPath)
	if err != nil {
		return nil, fmt.Errorf("read the virtual servers (it takes root, in the network namespace of the proxy, and a kernel with ip_vs): %w", err)
	}
	defer f.Close()
	return parseTable(f)
}

func parseTable(r io.Reader) (table, error) {
	t := table{}
	var at netip.AddrPort
	for lines := bufio.NewScanner(r); ; {
		if !lines.Scan() {
			return t, lines.Err()
		}
		words := strings.Fields(lines.Text())
		switch {
		case len(words) >= 2 && words[0] == "TCP":
			var err error
			if at, err = parseAddress(words[1]); err != nil {
				return nil, err
			}
			t[at] = []netip.AddrPort{}
		case len(words) >= 2 && (words[0] == "UDP" || words[0] == "SCTP" || words[0] == "FWM"):
			at = netip.AddrPort{}
		case len(words) >= 4 && words[0] == "->" && at.IsValid():
			real, err := parseAddress(words[1])
			if err != nil {
				return nil, err
			}
			if weight, err := strconv.Atoi(words[3]); err == nil && weight > 0 {
				t[at] = append(t[at], real)
			}
		}
	}
}

// parseAddress reads "0A600101:0050" and "[fd00:0010:0096:0000:0000:0000:0000:0100]:0050".
func parseAddress(s string) (netip.AddrPort, error) {
	bad := fmt.Errorf("%s: %q is not an address as the kernel writes it", procPath, s)
	colon := strings.LastIndexByte(s, ':')
	if colon < 0 {
		return netip.AddrPort{}, bad
	}
	port, err := strconv.ParseUint(s[colon+1:], 16, 16)
	if err != nil {
		return netip.AddrPort{}, bad
	}
	if inside, found := strings.CutPrefix(s[:colon], "["); found {
		a, err := netip.ParseAddr(strings.TrimSuffix(inside, "]"))
		if err != nil {
			return netip.AddrPort{}, bad
		}
		return netip.AddrPortFrom(a, uint16(port)), nil
	}
	v, err := strconv.ParseUint(s[:colon], 16, 32)
	if err != nil {
		return netip.AddrPort{}, bad
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}),
		uint16(port)), nil
}

// missing counts the virtual servers and real servers that are wanted and absent, and those that should be absent and
// are there.
func (t table) missing(want []virtualServer) (virtual, real int) {
	for _, v := range want {
		have, found := t[v.at]
		if !found {
			virtual++
			real += len(v.real)
			continue
		}
		for _, r := range v.real {
			if !slices.Contains(have, r) {
				real++
			}
		}
		for _, r := range have {
			if !slices.Contains(v.real, r) {
				real++
			}
		}
	}
	return virtual, real
}

// lacking are the virtual servers that are not there as they are wanted.
func (t table) lacking(want []virtualServer) (lacking []virtualServer) {
	for _, v := range want {
		if have, found := t[v.at]; !found || !same(have, v.real) {
			lacking = append(lacking, v)
		}
	}
	return lacking
}

// same compares without regard to order.
func same(a, b []netip.AddrPort) bool {
	if len(a) != len(b) {
		return false
	}
	for _, r := range b {
		if !slices.Contains(a, r) {
			return false
		}
	}
	return true
}
