package topology

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/util/wait"
)

// Host is one network namespace with its addresses.
type Host struct {
	Name string
	// Node is the name of a pod's node.
	Node       string
	IPv4, IPv6 netip.Addr

	namespace *os.File
	handle    *netlink.Handle
	veths     int
}

// newHost makes a network namespace whose loopback is up.
func newHost(name string) (*Host, error) {
	h := &Host{Name: name}
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
		var err error
		if h.namespace, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return err
		}
		if h.handle, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
			return err
		}
		if err := noDuplicates(); err != nil {
			return err
		}
		lo, err := h.handle.LinkByName("lo")
		if err != nil {
			return err
		}
		return h.handle.LinkSetUp(lo)
	})
	if err != nil {
		return nil, fmt.Errorf("host %s: %w", name, err)
	}
	return h, nil
}

// noDuplicates switches the search for duplicates of a link's addresses off in this network. With it the link-local
// ones cannot be used for one to two seconds. Until then nobody asks for the neighbour of an IPv6 packet that is
// forwarded (net/ipv6/ndisc.c, ndisc_solicit and ndisc_send_ns, Linux 6.12): such a connection hangs for seconds, or
// fails.
func noDuplicates() error {
	for _, which := range []string{"all", "default"} {
		if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+which+"/accept_dad", []byte("0"), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// onThread runs f on an operating system thread that may change its network namespace, and brings the thread back. A
// thread that does not come back is given up with its goroutine.
func onThread(f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			result <- err
			return
		}
		defer home.Close()
		err = f()
		if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back == nil {
			runtime.UnlockOSThread()
		}
		result <- err
	}()
	return <-result
}

// Do runs f with the host's network. What f opens stays in that network; goroutines that f starts do not.
func (h *Host) Do(f func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(h.namespace.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter the network of %s: %w", h.Name, err)
		}
		return f()
	})
}

// Start starts the command on the host.
func (h *Host) Start(cmd *exec.Cmd) error { return h.Do(cmd.Start) }

// Run runs a program on the host and returns what it printed. The error holds the output too.
func (h *Host) Run(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	var output []byte
	err := h.Do(func() (err error) {
		output, err = cmd.CombinedOutput()
		return err
	})
	if err != nil {
		err = fmt.Errorf("on %s: %v: %w\n%s", h.Name, cmd.Args, err, output)
	}
	return string(output), err
}

// Handle returns a netlink handle in the host's network.
func (h *Host) Handle() *netlink.Handle { return h.handle }

// Sysctl writes a sysctl of the host's network; name is a path below /proc/sys.
func (h *Host) Sysctl(name, value string) error {
	return h.Do(func() error { return os.WriteFile("/proc/sys/"+name, []byte(value), 0o644) })
}

func (h *Host) link(name string) (netlink.Link, error) {
	l, err := h.handle.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("host %s: link %s: %w", h.Name, name, err)
	}
	return l, nil
}

// AddAddress gives the link an address, which is usable at once: without the flag an IPv6 one would wait for the link's
// carrier.
func (h *Host) AddAddress(link string, prefix netip.Prefix) error {
	l, err := h.link(link)
	if err != nil {
		return err
	}
	addr, err := netlink.ParseAddr(prefix.String())
	if err != nil {
		return err
	}
	if prefix.Addr().Is6() {
		addr.Flags = unix.IFA_F_NODAD
	}
	if err := h.handle.AddrAdd(l, addr); err != nil {
		return fmt.Errorf("host %s: add %s to %s: %w", h.Name, prefix, link, err)
	}
	return nil
}

// DeleteAddress takes an address from the link.
func (h *Host) DeleteAddress(link string, prefix netip.Prefix) error {
	l, err := h.link(link)
	if err != nil {
		return err
	}
	addr, err := netlink.ParseAddr(prefix.String())
	if err != nil {
		return err
	}
	if err := h.handle.AddrDel(l, addr); err != nil {
		return fmt.Errorf("host %s: delete %s from %s: %w", h.Name, prefix, link, err)
	}
	return nil
}

// AddDummy makes a dummy link that is up.
func (h *Host) AddDummy(name string) error {
	return h.addUp("dummy link", &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: name}})
}

// addUp makes a link and sets it up; what says in errors what it is.
func (h *Host) addUp(what string, link netlink.Link) error {
	if err := h.handle.LinkAdd(link); err != nil {
		return fmt.Errorf("host %s: add %s %s: %w", h.Name, what, link.Attrs().Name, err)
	}
	return h.handle.LinkSetUp(link)
}

// route sends what is for the destination through the gateway.
func (h *Host) route(destination netip.Prefix, gateway netip.Addr) error {
	return h.addRoute(destination, "via "+gateway.String(), &netlink.Route{Gw: gateway.AsSlice()})
}

// routeLink sends what is for the destination straight to the link, from source when it is valid, in packets of mtu at
// most where that is not 0.
func (h *Host) routeLink(destination netip.Prefix, link string, source netip.Addr, mtu int) error {
	l, err := h.link(link)
	if err != nil {
		return err
	}
	// A forwarded IPv6 packet obeys the route's MTU only where it is locked (include/net/ip6_route.h, Linux 6.1).
	r := &netlink.Route{LinkIndex: l.Attrs().Index, Scope: netlink.SCOPE_LINK, MTU: mtu, MTULock: mtu != 0}
	if source.IsValid() {
		r.Src = source.AsSlice()
	}
	return h.addRoute(destination, "dev "+link, r)
}

func (h *Host) addRoute(destination netip.Prefix, way string, r *netlink.Route) error {
	var err error
	if _, r.Dst, err = net.ParseCIDR(destination.String()); err != nil {
		return err
	}
	if err := h.handle.RouteAdd(r); err != nil {
		return fmt.Errorf("host %s: route %s %s: %w", h.Name, destination, way, err)
	}
	return nil
}

func (h *Host) addBridge(name string) error {
	return h.addUp("bridge", &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}})
}

// bridge makes the link a port of the bridge.
func (h *Host) bridge(port, bridge string) error {
	master, err := h.link(bridge)
	if err != nil {
		return err
	}
	l, err := h.link(port)
	if err != nil {
		return err
	}
	return h.handle.LinkSetMaster(l, master)
}

func (h *Host) up(link string) error {
	l, err := h.link(link)
	if err != nil {
		return err
	}
	return h.handle.LinkSetUp(l)
}

// awaitUsable waits until the link has a link-local address that can be used: the kernel gives it a moment after the
// link has its carrier.
func (h *Host) awaitUsable(link string) error {
	l, err := h.link(link)
	if err != nil {
		return err
	}
	err = wait.PollUntilContextTimeout(context.Background(), 2*time.Millisecond, 10*time.Second, true,
		func(context.Context) (bool, error) {
			addrs, err := h.handle.AddrList(l, netlink.FAMILY_V6)
			if errors.Is(err, netlink.ErrDumpInterrupted) {
				return false, nil // an address has just come
			}
			return slices.ContainsFunc(addrs, func(a netlink.Addr) bool {
				return a.IP.IsLinkLocalUnicast() && a.Flags&unix.IFA_F_TENTATIVE == 0
			}), err
		})
	if err != nil {
		return fmt.Errorf("host %s: link %s has no link-local address that can be used: %w", h.Name, link, err)
	}
	return nil
}

func (h *Host) close() {
	h.handle.Close()
	h.namespace.Close()
}
