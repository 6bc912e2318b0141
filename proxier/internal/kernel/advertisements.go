package kernel

import (
	"fmt"

	vnl "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// KeepRouterAdvertisements prepares this node for IPv6 forwarding. With net.ipv6.conf.all.forwarding=1 a link whose
// accept_ra is 1 ignores router advertisements, and loses the default route that came with one. With 2 it accepts them
// as before (Documentation/networking/ip-sysctl.rst; net/ipv6/route.c, rt6_purge_dflt_routers). So where forwarding is
// off, each link that has an address or a default route from a router gets 2. Other links are left alone: pods must not
// become routers of the node. Where forwarding is on, the operator has decided this already, and nothing is changed.
func KeepRouterAdvertisements() ([]dataplane.SysctlChange, error) {
	if value, err := readSysctl("net.ipv6.conf.all.forwarding"); err != nil || value != "0" {
		return nil, err
	}
	links, err := vnl.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	var changed []dataplane.SysctlChange
	for _, link := range links {
		name := link.Attrs().Name
		// The link's name may hold dots, which are no separators here.
		path := "/proc/sys/net/ipv6/conf/" + name + "/accept_ra"
		if value, err := readFile(path); err != nil || value != "1" {
			continue // it hears no router, or knows no IPv6
		}
		lives, err := livesByRouters(link)
		if err != nil {
			return changed, fmt.Errorf("link %s: %w", name, err)
		}
		if !lives {
			continue
		}
		if err := writeFile(path, "2"); err != nil {
			return changed, fmt.Errorf(
				"set net.ipv6.conf.%s.accept_ra to 2, without which IPv6 forwarding would cost the link its router: %w (%s)", name,
				err, whyNot("accept_ra", err),
			)
		}
		changed = append(changed, dataplane.SysctlChange{Name: "net.ipv6.conf." + name + ".accept_ra", Old: "1", New: "2"})
	}
	return changed, nil
}

// livesByRouters reports whether the link has something that a router advertisement gave it: a default route, or an
// address that is not for ever.
func livesByRouters(link vnl.Link) (bool, error) {
	routes, err := vnl.RouteListFiltered(unix.AF_INET6,
		&vnl.Route{LinkIndex: link.Attrs().Index, Protocol: unix.RTPROT_RA}, vnl.RT_FILTER_OIF|vnl.RT_FILTER_PROTOCOL)
	if err != nil || len(routes) > 0 {
		return len(routes) > 0, err
	}
	addrs, err := vnl.AddrList(link, unix.AF_INET6)
	for _, a := range addrs {
		if a.Flags&unix.IFA_F_PERMANENT == 0 {
			return true, nil
		}
	}
	return false, err
}
