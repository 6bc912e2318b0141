package proxier

import (
	"strings"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// FuzzParsePorts: what is taken is a range of ports of a protocol that has ports, and reads the same when written so.
func FuzzParsePorts(f *testing.F) {
	for _, text := range []string{
		"22", "2379-2381", "4789/udp", " 1-65535/SCTP ", "0", "22/", "/udp", "3-2", "1-2-3", "65536", "+1", "0x10",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ports, err := parsePorts([]string{text})
		if err != nil {
			return
		}
		if len(ports) != 1 {
			t.Fatalf("%q is %v", text, ports)
		}
		p := ports[0]
		if p.First == 0 || p.First > p.Last || p.protocol != cluster.TCP && p.protocol != cluster.UDP &&
			p.protocol != cluster.SCTP {
			t.Fatalf("%q is %v", text, p)
		}
		again, err := parsePorts([]string{p.String() + "/" + p.protocol.String()})
		if err != nil || again[0] != p {
			t.Fatalf("%q is %v, and that is %v, %v", text, p, again, err)
		}
		if !strings.Contains(text, "/") && p.protocol != cluster.TCP {
			t.Fatalf("%q without a protocol is %v", text, p)
		}
	})
}
