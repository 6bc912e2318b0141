package kernel

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	moby "github.com/moby/ipvs"
	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/internal/command"
	wire "github.com/ipvs-proxier/ipvs-proxier/internal/ipvs"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// probeSchedulers returns those schedulers that the kernel has. There is no doubt about one whose module is loaded, nor
// about one that has no module. modprobe loads the modules of the others where it may. What is in doubt then is tried,
// but for those whose module the node has to load ([scheduler.Scheduler.LoadedByNode]): namespaces go on a node all the
// time.
func probeSchedulers(names []string, read func() modules) (has []string, err error) {
	known := read()
	doubtful := known.doubtful(names)
	if len(doubtful) > 0 {
		args := []string{"-a", "-q"}
		for _, name := range doubtful {
			args = append(args, schedulerModule(name))
		}
		_, _ = command.Run(context.Background(), nil, "modprobe", args...) // what it has done is seen at the second look
		known = read()
		doubtful = slices.DeleteFunc(known.doubtful(names), func(name string) bool {
			s, _ := scheduler.OfKernel(name)
			return s.LoadedByNode && !known.builtIn(schedulerModule(name))
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

// trySchedulers makes a virtual server with each on an address of RFC 5737 that nobody has, and returns those that the
// kernel took. All stay until the last one was tried. With its last virtual server of a family IPVS takes its hooks out
// of the network, and waits for all processors before it puts them back for the next one.
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
			AddressFamily: unix.AF_INET, Protocol: unix.IPPROTO_TCP, Address: netip.MustParseAddr("198.51.100.0").AsSlice(),
			Port:      uint16(20000 + i),
			SchedName: name, Netmask: wire.WholeMask4,
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
