package main

import (
	"fmt"
	"os"
	"strings"
)

// sysctl is a name with slashes, below /proc/sys, and its value.
type sysctl struct{ name, value string }

// namespaceSysctls belong to a network namespace. "Refused" must not turn into "timeout" by chance, as it does when the
// kernel limits the rate of the messages that say it.
var namespaceSysctls = []sysctl{
	{"net/ipv4/icmp_ratelimit", "0"},
	{"net/ipv6/icmp/ratelimit", "0"},
}

// machineSysctls concern the whole machine, so they are for booted guests only. The first two are in namespaces since
// Linux 6.13. The others have written files reach the host soon: in hundredths of a second.
var machineSysctls = []sysctl{
	{"net/ipv4/icmp_msgs_per_sec", "100000"},
	{"net/ipv4/icmp_msgs_burst", "100000"},
	{"vm/dirty_expire_centisecs", "50"},
	{"vm/dirty_writeback_centisecs", "50"},
}

func writeSysctls(list []sysctl) error {
	for _, s := range list {
		err := os.WriteFile("/proc/sys/"+s.name, []byte(s.value), 0o644)
		if os.IsNotExist(err) && strings.HasPrefix(s.name, "net/ipv6/") {
			continue // a kernel without IPv6
		}
		if err != nil {
			return fmt.Errorf("set %s: %w", s.name, err)
		}
	}
	return nil
}
