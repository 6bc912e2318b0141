package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// sysctl is a name with slashes, below /proc/sys, and its value.
type sysctl struct{ name, value string }

// namespaceSysctls belong to a network namespace. "Refused" must not turn into "timeout" by chance, as it does when the
// kernel limits the rate of the messages that say it.
var namespaceSysctls = []sysctl{
	{"net/ipv4/icmp_ratelimit", "0"},
	{"net/ipv6/icmp/ratelimit", "0"},
}

// machineSysctls concern the whole machine before Linux 6.13, so they are for booted guests only.
var machineSysctls = []sysctl{
	{"net/ipv4/icmp_msgs_per_sec", "100000"},
	{"net/ipv4/icmp_msgs_burst", "100000"},
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

// loopbackUp brings lo up in this network namespace.
func loopbackUp() error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("bring lo up: %w", err)
	}
	return nil
}
