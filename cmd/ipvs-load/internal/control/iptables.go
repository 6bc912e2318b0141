package control

import (
	"bytes"
	"context"
	"io"
	"net/netip"
	"strconv"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/internal/command"
)

// readIptables reads what kube-proxy's iptables mode has made: the same table, out of the rules of nat.
func readIptables(v6 bool) (table, error) {
	program := "iptables-save"
	if v6 {
		program = "ip6tables-save"
	}
	text, err := command.Run(context.Background(), nil, program, "-t", "nat")
	if err != nil {
		return nil, err
	}
	return parseIptables(bytes.NewReader(text))
}

// parseIptables follows kube-proxy's chains: KUBE-SERVICES leads by address and port to KUBE-SVC-X, that to a
// KUBE-SEP-Y for each endpoint, and there is the address.
//
//	-A KUBE-SERVICES -d 10.96.1.0/32 -p tcp -m comment --comment "default/load-0:a cluster IP" -m tcp --dport 80 -j KUBE-SVC-X
//	-A KUBE-SVC-X -m comment --comment "default/load-0:a -> 10.244.0.16:8080" -m statistic --mode random --probability 0.2 -j KUBE-SEP-Y
//	-A KUBE-SEP-Y -p tcp -m comment --comment "default/load-0:a" -m tcp -j DNAT --to-destination 10.244.0.16:8080
func parseIptables(r io.Reader) (table, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	services := map[netip.AddrPort]string{}
	jumps := map[string][]string{}
	ends := map[string]netip.AddrPort{}
	for line := range strings.Lines(string(text)) {
		rest, found := strings.CutPrefix(line, "-A KUBE-S")
		if !found {
			continue
		}
		chain, rest, _ := strings.Cut(rest, " ")
		rule := option(rest)
		target := rule("-j")
		switch {
		case chain == "ERVICES" && strings.HasPrefix(target, "KUBE-SVC-") && rule("-p") == "tcp":
			prefix, err1 := netip.ParsePrefix(rule("-d"))
			port, err2 := strconv.ParseUint(rule("--dport"), 10, 16)
			if err1 == nil && err2 == nil {
				services[netip.AddrPortFrom(prefix.Addr(), uint16(port))] = target
			}
		case strings.HasPrefix(chain, "VC-") && strings.HasPrefix(target, "KUBE-SEP-"):
			jumps["KUBE-S"+chain] = append(jumps["KUBE-S"+chain], target)
		case strings.HasPrefix(chain, "EP-") && target == "DNAT":
			if at, err := netip.ParseAddrPort(rule("--to-destination")); err == nil {
				ends["KUBE-S"+chain] = at
			}
		}
	}
	t := table{}
	for at, chain := range services {
		t[at] = []netip.AddrPort{}
		for _, end := range jumps[chain] {
			if real, found := ends[end]; found {
				t[at] = append(t[at], real)
			}
		}
	}
	return t, nil
}

// option finds the word after one in a rule. Comments may hold such words: they stand in quotation marks, and are cut
// out.
func option(rule string) func(name string) string {
	var words []string
	for i, part := range strings.Split(rule, `"`) {
		if i%2 == 0 {
			words = append(words, strings.Fields(part)...)
		}
	}
	return func(name string) string {
		for i := range len(words) - 1 {
			if words[i] == name {
				return words[i+1]
			}
		}
		return ""
	}
}
