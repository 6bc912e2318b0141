package nodecheck

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Numbers of capabilities (include/uapi/linux/capability.h).
const (
	capNetAdmin = 12
	capNetRaw   = 13
)

var privilegeChecks = []Check{{
	Code: "IPX-211", Name: "CapabilityMissing", Stops: true,
	Looks:       "whether this process has `CAP_NET_ADMIN` and `CAP_NET_RAW`",
	Consequence: "the kernel refuses IPVS, links, sets and rules; ipset's part of iptables needs CAP_NET_RAW",
	Fix:         "run it as root, or give the container the capabilities NET_ADMIN and NET_RAW (securityContext.capabilities.add)",
	evaluate: func(f Facts, _ Wanted) []result {
		if !f.Capabilities.Known() {
			return unknown("which capabilities this process has: " + f.Capabilities.Why)
		}
		var missing []string
		for _, c := range []struct {
			name   string
			number uint
		}{{"CAP_NET_ADMIN", capNetAdmin}, {"CAP_NET_RAW", capNetRaw}} {
			if f.Capabilities.Value&(1<<c.number) == 0 {
				missing = append(missing, c.name)
			}
		}
		if len(missing) > 0 {
			return fails("this process has no " + strings.Join(missing, " and no "))
		}
		return ok("this process has CAP_NET_ADMIN and CAP_NET_RAW")
	},
}, {
	Code: "IPX-212", Name: "UserNamespace", Stops: true,
	Looks:       "whether this process is in a user namespace of its own",
	Consequence: "no capability counts there for IPVS (Linux 6.1 to 7.2)",
	Fix:         "run it outside of one: rootless nodes, and pods with hostUsers: false, cannot run it",
	evaluate: func(f Facts, _ Wanted) []result {
		if f.UserNamespace {
			return fails("this process is in a user namespace (/proc/self/uid_map: " + f.UIDMap + ")")
		}
		return ok("this process is in the machine's user namespace")
	},
}, {
	Code: "IPX-213", Name: "SysctlReadOnly", Stops: true,
	Looks:       "whether the kernel parameters can be written that have to be changed, or kept in force",
	Consequence: "the program cannot set what it needs, and ends",
	Fix:         "in a container mount the node's /proc/sys/net at /host/proc/sys/net, or set it on the node: sysctl -w NAME=VALUE",
	evaluate:    evaluateSysctls,
}, {
	Code: "IPX-214", Name: "SELinuxConfined",
	Looks:       "whether SELinux confines this process as a container",
	Consequence: "a confined container may not write the network's parameters",
	Fix:         "give the container the type spc_t (securityContext.seLinuxOptions: {type: spc_t})",
	evaluate: func(f Facts, _ Wanted) []result {
		if strings.HasPrefix(f.SELinux, "container_") {
			return warns("SELinux enforces, and this process has the type " + f.SELinux)
		}
		if f.SELinux == "" {
			return ok("SELinux does not enforce")
		}
		return ok("SELinux enforces; this process has the type " + f.SELinux)
	},
}}

func evaluateSysctls(f Facts, w Wanted) []result {
	var toSet, right, why []string
	for _, name := range slices.Sorted(maps.Keys(w.Sysctls)) {
		now, read := f.Sysctls[name]
		switch {
		case !read || now.Missing || now.ReadOnly == "":
		case now.Value != w.Sysctls[name]:
			toSet = append(toSet, fmt.Sprintf("%s=%s", name, w.Sysctls[name]))
			why = append(why, fmt.Sprintf("%s is %s (%s)", name, now.Value, now.ReadOnly))
		default:
			right, why = append(right, name), append(why, now.ReadOnly)
		}
	}
	switch {
	case len(toSet) > 0:
		return by("mount the node's /proc/sys/net at /host/proc/sys/net, or on the node: sysctl -w "+strings.Join(toSet, " "),
			fails("cannot be written: "+strings.Join(why[:len(toSet)], ", "))...)
	case len(right) > 0:
		return []result{{
			severity:    Warns,
			found:       fmt.Sprintf("cannot be written (%s): %s", why[0], strings.Join(right, ", ")),
			consequence: "they have the right values now, and are not repaired when somebody changes them",
			fix:         "in a container mount the node's /proc/sys/net at /host/proc/sys/net",
		}}
	}
	return ok("kernel parameters can be written, or are right")
}
