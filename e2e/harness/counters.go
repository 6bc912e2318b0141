package harness

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// Counters are those of a host's network: of /proc/net/netstat and /proc/net/snmp, as nstat names them
// (TcpExtTCPSynRetrans, UdpInDatagrams), and the sums over all processors of /proc/net/stat/nf_conntrack, as conntrack
// -S names them, after the word Conntrack (Conntrackinsert_failed). A counter that the kernel does not have is absent.
type Counters map[string]int64

// ReadCounters reads the host's counters.
func ReadCounters(h *topology.Host) (Counters, error) {
	c := Counters{}
	return c, h.Do(func() error {
		for _, name := range []string{"netstat", "snmp"} {
			text, err := os.ReadFile("/proc/thread-self/net/" + name)
			if err != nil {
				return err
			}
			if err := c.addPairs(string(text)); err != nil {
				return fmt.Errorf("%s of %s: %w", name, h.Name, err)
			}
		}
		text, err := os.ReadFile("/proc/thread-self/net/stat/nf_conntrack")
		if os.IsNotExist(err) {
			return nil // nothing is tracked, or the kernel was built without it
		}
		if err != nil {
			return err
		}
		return c.addProcessors(string(text))
	})
}

// addPairs adds lines in pairs: names, values.
func (c Counters) addPairs(text string) error {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		names, values := strings.Fields(lines[i]), strings.Fields(lines[i+1])
		if len(names) != len(values) || len(names) == 0 {
			return fmt.Errorf("%d names and %d values", len(names), len(values))
		}
		group := strings.TrimSuffix(names[0], ":")
		for j := 1; j < len(names); j++ {
			v, err := strconv.ParseInt(values[j], 10, 64)
			if err != nil {
				return err
			}
			c[group+names[j]] = v
		}
	}
	return nil
}

// addProcessors adds a line of names, and one of hexadecimal values for each processor.
func (c Counters) addProcessors(text string) error {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	names := strings.Fields(lines[0])
	for _, line := range lines[1:] {
		for j, value := range strings.Fields(line) {
			v, err := strconv.ParseInt(value, 16, 64)
			if err != nil || j >= len(names) {
				return fmt.Errorf("nf_conntrack: %d names, value %q: %w", len(names), value, err)
			}
			c["Conntrack"+names[j]] += v
		}
	}
	return nil
}

// Since returns by how much each counter has grown since before.
func (c Counters) Since(before Counters) Counters {
	grown := Counters{}
	for name, v := range c {
		grown[name] = v - before[name]
	}
	return grown
}
