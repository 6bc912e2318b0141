package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// known are the capabilities that a container of a network program is given.
var known = map[string]uint{
	"CAP_NET_ADMIN":  unix.CAP_NET_ADMIN,
	"CAP_NET_RAW":    unix.CAP_NET_RAW,
	"CAP_SYS_MODULE": unix.CAP_SYS_MODULE,
	"CAP_SYS_ADMIN":  unix.CAP_SYS_ADMIN,
}

// capabilities returns the names' numbers as a set of bits.
func capabilities(names []string) (keep uint64, err error) {
	for _, name := range names {
		number, found := known[name]
		if !found {
			return 0, fmt.Errorf("capability %q is unknown; allowed are %s",
				name, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
		keep |= 1 << number
	}
	return keep, nil
}

// limit takes all capabilities but these away from the thread, for good: out of the bounding set, too.
func limit(keep uint64) error {
	for number := uint(0); number <= unix.CAP_LAST_CAP; number++ {
		if keep&(1<<number) != 0 {
			continue
		}
		// EINVAL: this kernel does not have the capability.
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(number), 0, 0, 0); err != nil && err != unix.EINVAL {
			return fmt.Errorf("take capability %d away: %w", number, err)
		}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	for i := range data {
		bits := uint32(keep >> (32 * i))
		data[i] = unix.CapUserData{Effective: bits, Permitted: bits}
	}
	if err := unix.Capset(&header, &data[0]); err != nil {
		return fmt.Errorf("keep these capabilities only: %w", err)
	}
	return nil
}
