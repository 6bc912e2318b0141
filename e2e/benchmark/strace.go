package benchmark

import (
	"regexp"
	"strings"
)

var (
	// straceCall is a line of strace -f -y -o: the process, the call, and its first argument, if that is a descriptor with what it is.
	straceCall = regexp.MustCompile(`^(\d+) +(\w+)\((?:\d+<([^>]*)>+, ?)?(.*)`)
	// straceSocket is a socket that was made: its family, its protocol, and its name.
	straceSocket = regexp.MustCompile(`^(AF_\w+), [^,]*, (\w+)\) += \d+<([^>]*)>`)
)

// CountCalls reads what strace -f -y wrote of the calls execve and %network: those on netlink sockets and on the sockets by which IPVS and
// iptables take getsockopt and setsockopt, and the programs that were executed, without the first, which is the proxy. A call that strace
// shows in two lines, because another thread came between, counts once.
func CountCalls(trace string) (c Calls) {
	kernel := map[string]bool{} // sockets by which the kernel is programmed
	executed := -1
	for line := range strings.Lines(trace) {
		found := straceCall.FindStringSubmatch(line)
		if found == nil {
			continue // the second half of a call, or the end of a process
		}
		call, descriptor, rest := found[2], found[3], found[4]
		switch {
		case call == "execve":
			if strings.Contains(line, " = 0") || strings.Contains(line, "<unfinished") {
				executed++
			}
		case call == "socket":
			if made := straceSocket.FindStringSubmatch(rest); made != nil && (made[1] == "AF_NETLINK" || made[2] == "IPPROTO_RAW" || made[2] == "IPPROTO_IP") {
				kernel[made[3]] = made[1] == "AF_NETLINK" || !strings.Contains(rest, "SOCK_STREAM")
				if kernel[made[3]] {
					c.Netlink++
				}
			}
		case strings.HasPrefix(descriptor, "NETLINK:") || kernel[descriptor] || call == "getsockopt" && strings.Contains(rest, "SOL_IP, 0x48"):
			c.Netlink++
		}
	}
	c.Processes = max(executed, 0)
	return c
}
