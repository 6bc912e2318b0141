package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"

	moby "github.com/moby/ipvs"
	"golang.org/x/sys/unix"
)

// perilous are schedulers whose module must not be loaded by the kernel on behalf of IPVS. That happens under IPVS's mutex; these modules register with the
// network namespaces when they are loaded, which waits for namespaces that are just being removed, which wait for IPVS's mutex, for ever
// (net/netfilter/ipvs: ip_vs_ctl.c, ip_vs_service_nets_cleanup; ip_vs_lblc.c and ip_vs_lblcr.c, register_pernet_subsys; Linux 6.1). On a node pods and their
// namespaces go all the time.
var perilous = []string{"lblc", "lblcr"}

// probeSchedulers returns those schedulers that the kernel has. Of one whose module is loaded there is no doubt, nor of one that has no module. The modules of the
// others are loaded by modprobe where there is one that may; what is in doubt then is tried, but for the perilous ones: those have to be loaded by the node.
func probeSchedulers(names []string, read func() modules) (has []string, err error) {
	known := read()
	doubtful := known.doubtful(names)
	if len(doubtful) > 0 {
		args := []string{"-a", "-q"}
		for _, name := range doubtful {
			args = append(args, schedulerModule(name))
		}
		_ = exec.Command("modprobe", args...).Run() // what it has done is seen at the second look
		known = read()
		doubtful = slices.DeleteFunc(known.doubtful(names), func(name string) bool {
			return slices.Contains(perilous, name) && !known.builtIn(schedulerModule(name))
		})
	}
	works, err := trySchedulers(doubtful)
	if err != nil {
		return nil, err
	}
	has = []string{}
	for _, name := range names {
		if known.loaded(schedulerModule(name)) || slices.Contains(works, name) {
			has = append(has, name)
		}
	}
	return has, nil
}

func schedulerModule(name string) string { return "ip_vs_" + name }

// doubtful returns those of which it is not known whether the kernel has them.
func (m modules) doubtful(schedulers []string) (names []string) {
	for _, name := range schedulers {
		if module := schedulerModule(name); !m.loaded(module) && !m.absent(module) {
			names = append(names, name)
		}
	}
	return names
}

// trySchedulers makes a virtual server with each on an address of RFC 5737 that nobody has, and returns those that the kernel took. All stay until
// the last one was tried: with its last virtual server of a family IPVS takes its hooks out of the network, and waits for all processors
// before it puts them back for the next one.
func trySchedulers(names []string) (has []string, err error) {
	if len(names) == 0 {
		return nil, nil
	}
	handle, err := moby.New("")
	if err != nil {
		return nil, fmt.Errorf("try schedulers: %w", err)
	}
	defer handle.Close()
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
			return has, fmt.Errorf("try scheduler %s: %w", name, err)
		}
	}
	return has, nil
}
