package kernel

import (
	"fmt"
	"os"
	"os/exec"
	"strings"

	vnl "github.com/vishvananda/netlink"

	wire "github.com/ipvs-proxier/ipvs-proxier/internal/ipvs"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// What is here looks at a node and leaves it as it is: it writes nothing and has the kernel load no module.

// Release returns the kernel's release, such as "6.12.3-amd64", and its version in numbers.
func Release() (release string, major, minor int, err error) {
	text, err := readFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "", 0, 0, fmt.Errorf("read the kernel's version: %w", err)
	}
	major, minor = parseRelease(text)
	return text, major, minor, nil
}

// Modules is what /proc/modules and the lists of kmod say of modules.
type Modules struct{ modules }

// ReadModules reads them for the kernel's release.
func ReadModules(release string) Modules { return Modules{readModules("", release)} }

// Listed reports whether the lists of modules that can be loaded and that are built in could be read.
func (m Modules) Listed() bool { return len(m.lists) > 0 }

// Loads reports whether the kernel can load modules at all (CONFIG_MODULES).
func (m Modules) Loads() bool {
	_, err := os.Stat("/proc/modules")
	return err == nil
}

// State reports whether the module is loaded, built in, or absent. All three are false for a module that can be loaded,
// if Listed is true.
func (m Modules) State(name string) (loaded, builtIn, absent bool) {
	return m.loaded(name), m.builtIn(name), m.absent(name)
}

// HasIPVS reports whether IPVS is in the kernel now. It needs no privileges. A request for its family by name would
// load the module (net/netlink/genetlink.c, ctrl_getfamily, Linux 6.1); a list of all families does not.
func HasIPVS() (bool, error) {
	families, err := vnl.GenlFamilyList()
	if err != nil {
		return false, err
	}
	for _, f := range families {
		if f.Name == wire.FamilyName {
			return true, nil
		}
	}
	return false, nil
}

// InUserNamespace reports whether this process is in a user namespace of its own, with its /proc/self/uid_map.
func InUserNamespace() (own bool, uidMap string) {
	in := userNamespace()
	return in.link != "" && in.link != initialUserNamespace, strings.Join(strings.Fields(in.uidMap), " ")
}

// MissingPrograms returns those programs of iptables that are not installed, and whether those of IPv6 are.
func MissingPrograms() (missing []string, ipv6 bool) {
	for _, suffix := range []string{"", "-save", "-restore"} {
		if _, err := exec.LookPath(commands[cluster.IPv4] + suffix); err != nil {
			missing = append(missing, commands[cluster.IPv4]+suffix)
		}
	}
	_, err := exec.LookPath(commands[cluster.IPv6])
	return missing, err == nil
}

// HasIPv6 reports whether the kernel has IPv6.
func HasIPv6() bool {
	_, err := os.Stat("/proc/net/if_inet6")
	return err == nil
}
