package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	moby "github.com/moby/ipvs"
	"golang.org/x/sys/unix"
)

// probeSchedulers returns those schedulers that the kernel has. Of one whose module is loaded there is no doubt, nor of one that has no module; the others are
// tried, which loads them.
func probeSchedulers(handle *moby.Handle, names []string, known modules) (has []string, err error) {
	var doubtful []string
	for _, name := range names {
		if module := "ip_vs_" + name; !known.loaded(module) && !known.absent(module) {
			doubtful = append(doubtful, name)
		}
	}
	works, err := trySchedulers(handle, doubtful)
	if err != nil {
		return nil, err
	}
	has = []string{}
	for _, name := range names {
		if known.loaded("ip_vs_"+name) || slices.Contains(works, name) {
			has = append(has, name)
		}
	}
	return has, nil
}

// trySchedulers makes a virtual server with each on an address of RFC 5737 that nobody has, and returns those that the kernel took. All stay until
// the last one was tried: with its last virtual server of a family IPVS takes its hooks out of the network, and waits for all processors
// before it puts them back for the next one.
func trySchedulers(handle *moby.Handle, names []string) (has []string, err error) {
	var made []*moby.Service
	defer func() {
		for _, service := range made {
			err = errors.Join(err, handle.DelService(service))
		}
	}()
	for i, name := range names {
		service := &moby.Service{
			AddressFamily: unix.AF_INET, Protocol: unix.IPPROTO_TCP, Address: netip.MustParseAddr("198.51.100.0").AsSlice(), Port: uint16(20000 + i),
			SchedName: name, Netmask: netmask4,
		}
		err := handle.NewService(service)
		if errors.Is(err, unix.EEXIST) { // left over from a probe that was killed, perhaps with another scheduler
			if err = handle.DelService(service); err == nil {
				err = handle.NewService(service)
			}
		}
		switch {
		case err == nil:
			made, has = append(made, service), append(has, name)
		case !errors.Is(err, unix.ENOENT):
			return has, fmt.Errorf("try scheduler %s: %w (does the process have CAP_NET_ADMIN?)", name, err)
		}
	}
	return has, nil
}
