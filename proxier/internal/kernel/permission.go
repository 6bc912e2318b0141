package kernel

import (
	"fmt"
	"os"
	"strings"
)

// initialUserNamespace is what the link /proc/PID/ns/user says of processes that are in no user namespace of their own:
// its number is always PROC_USER_INIT_INO (include/linux/proc_ns.h, since Linux 3.8).
const initialUserNamespace = "user:[4026531837]"

// namespaceOfUsers is the user namespace of the process, and what users of the machine those in it are.
type namespaceOfUsers struct{ link, uidMap string }

func userNamespace() namespaceOfUsers {
	link, _ := os.Readlink("/proc/self/ns/user") // what cannot be read is ""
	uidMap, _ := readFile("/proc/self/uid_map")
	return namespaceOfUsers{link, uidMap}
}

// denied says why IPVS refuses the process with EPERM. IPVS asks for CAP_NET_ADMIN in the initial user namespace, for
// reading, too (GENL_ADMIN_PERM in net/netfilter/ipvs/ip_vs_ctl.c, Linux 6.1 to 7.2); ipset and nftables are content
// with that of the network namespace's owner.
func denied(err error, in namespaceOfUsers) error {
	if in.link == "" || in.link == initialUserNamespace {
		return fmt.Errorf("IPVS refuses this process: %w (it needs CAP_NET_ADMIN)", err)
	}
	return fmt.Errorf("IPVS refuses this process: %w: it is in a user namespace (/proc/self/uid_map: %s), where no capability counts for IPVS; "+
		"run it outside of one: rootless nodes, and pods with hostUsers: false, cannot run it", err,
		strings.Join(strings.Fields(in.uidMap), " "))
}
