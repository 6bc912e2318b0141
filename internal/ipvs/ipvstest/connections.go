// Package ipvstest reads, for tests, the connections that IPVS lists.
package ipvstest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Connections returns the lines of /proc/net/ip_vs_conn in the namespace of the calling thread, each once.
//
// The kernel writes them a page at a time. In Linux 7.2 the table grows by deferred work
// (net/netfilter/ipvs/ip_vs_conn.c, conn_resize_work_handler). A reader that goes on in another table than it began in
// leaves connections out and meets others twice: 43 of 180 were listed right after they were made. So it is read again
// until two readings agree. They must have as many lines as the kernel counts, where /proc/net/ip_vs_status is there:
// it came with the table that grows.
func Connections() ([]string, error) {
	var before []string
	for deadline := time.Now().Add(20 * time.Second); ; {
		counted, counts, err := countedConnections()
		if err != nil {
			return nil, err
		}
		data, err := os.ReadFile("/proc/thread-self/net/ip_vs_conn")
		if err != nil {
			return nil, err
		}
		now := []string{}
		for line := range strings.Lines(string(data)) {
			if fields := strings.Fields(line); fields[0] != "Pro" { // else they are titles
				now = append(now, strings.Join(fields[:8], " ")) // without the seconds that are left
			}
		}
		slices.Sort(now)
		// Two lines may be alike and both be right: a template of persistence that was renewed, and the old one that
		// has not expired.
		each := slices.Compact(slices.Clone(now))
		if before != nil && slices.Equal(before, now) && (!counts || len(now) == counted || len(each) == counted) {
			return each, nil
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("the kernel's list of connections does not come to rest: %d, then %d lines; it counts %d (in /proc/net/ip_vs_status: %v)",
				len(before), len(now), counted, counts)
		}
		before = now
	}
}

// countedConnections returns how many connections the kernel counts; counts is false where it does not show that.
func countedConnections() (n int, counts bool, err error) {
	data, err := os.ReadFile("/proc/thread-self/net/ip_vs_status")
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	for line := range strings.Lines(string(data)) {
		if count, is := strings.CutPrefix(line, "Conns:"); is {
			n, err := strconv.Atoi(strings.TrimSpace(count))
			return n, true, err
		}
	}
	return 0, false, fmt.Errorf("no number of connections in %q", data)
}
