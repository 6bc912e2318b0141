package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// ConnectionTable is what the kernel reports of IPVS's table of connections.
type ConnectionTable struct {
	// Grows says that each network namespace has a table of its own, which grows and shrinks with its connections, as
	// from Linux 7.1 on. Then the kernel reports Connections, Buckets, Services and ServiceBuckets. Else it reports
	// none of them, and all network namespaces share one table of MaxBuckets.
	Grows                    bool
	Connections, Buckets     int
	Services, ServiceBuckets int
	MaxBuckets               int // 0 where it cannot be read
	Limited                  bool
	MaxConnections           int // where Limited, from Linux 7.2 on: one more is refused
}

// What the kernel calls them: a file and a sysctl of the network namespace, and a parameter of the module.
const (
	statusFile        = "/proc/thread-self/net/ip_vs_status"
	ConnectionMax     = "net.ipv4.vs.conn_max"
	ConnectionTabBits = "conn_tab_bits"
	tabBitsFile       = "/sys/module/ip_vs/parameters/" + ConnectionTabBits
)

// ReadConnectionTable reads it in the network namespace of the calling thread. To write the file, the kernel goes
// through all buckets of both tables. That takes some milliseconds for each million of them
// (net/netfilter/ipvs/ip_vs_ctl.c, ip_vs_status_show, Linux 7.2).
func ReadConnectionTable() (ConnectionTable, error) {
	var t ConnectionTable
	status, err := os.ReadFile(statusFile)
	if err == nil {
		err = t.parseStatus(string(status))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return t, fmt.Errorf("read %s: %w", statusFile, err)
	}
	bits, err := number10(tabBitsFile)
	switch {
	case err == nil && (bits < 0 || bits > 30):
		return t, fmt.Errorf("read %s: %d is no number of bits", tabBitsFile, bits)
	case err == nil:
		t.MaxBuckets = 1 << bits
	case !errors.Is(err, fs.ErrNotExist):
		return t, fmt.Errorf("read %s: %w", tabBitsFile, err)
	}
	t.MaxConnections, err = number10(sysctlPath(ConnectionMax))
	t.Limited = err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return t, fmt.Errorf("read %s: %w", ConnectionMax, err)
	}
	return t, nil
}

func number10(path string) (int, error) {
	text, err := readFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(text)
}

// parseStatus reads lines such as "Conn buckets:	32768 (15 bits, lfactor -4)", of which the first number is taken.
func (t *ConnectionTable) parseStatus(text string) error {
	t.Grows = true
	missing := map[string]*int{
		"Conns": &t.Connections, "Conn buckets": &t.Buckets, "Services": &t.Services, "Service buckets": &t.ServiceBuckets,
	}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(line, ":")
		to, wanted := missing[name]
		if !wanted {
			continue
		}
		first, _, _ := strings.Cut(strings.TrimSpace(value), " ")
		n, err := strconv.Atoi(first)
		if err != nil || n < 0 {
			return fmt.Errorf("line %q holds no number", strings.TrimSpace(line))
		}
		*to = n
		delete(missing, name)
	}
	for name := range missing {
		return fmt.Errorf("no line %q", name)
	}
	return nil
}
