package benchmark

import (
	"regexp"
	"strings"
)

var (
	// straceCall is a line of strace -f -y -o: the process, the call, and its first argument, if that is a descriptor
	// with what it is.
	straceCall = regexp.MustCompile(`^(\d+) +(\w+)\((?:\d+<([^>]*)>+, ?)?(.*)`)
	// straceSocket is a socket that was made: its family, its protocol, and its name.
	straceSocket = regexp.MustCompile(`^(AF_\w+), [^,]*, (\w+)\) += \d+<([^>]*)>`)
)

// CountCalls reads what strace -f -y wrote of the calls execve and %network, of the proxy and of the programs that it
// executed. It counts those on netlink sockets, and on the sockets by which IPVS and iptables take getsockopt and
// setsockopt. A call that strace shows in two lines, because another thread came between, counts once.
func CountCalls(trace string) (c Calls) {
	kernel := map[string]bool{}   // sockets by which the kernel is programmed
	children := map[string]bool{} // processes that executed a program, but for the first, which is the proxy
	first := ""
	for line := range strings.Lines(trace) {
		found := straceCall.FindStringSubmatch(line)
		if found == nil {
			continue // the second half of a call, or the end of a process
		}
		process, call, descriptor, rest := found[1], found[2], found[3], found[4]
		counts := false
		switch {
		case call == "execve" && (strings.Contains(line, " = 0") || strings.Contains(line, "<unfinished")):
			if first == "" {
				first = process
			} else {
				children[process] = true
				c.Processes++
			}
		case call == "socket":
			if made := straceSocket.FindStringSubmatch(rest); made != nil {
				counts = made[1] == "AF_NETLINK" || strings.Contains(rest, "SOCK_RAW") ||
					made[2] == "IPPROTO_IP" && strings.Contains(rest, "SOCK_DGRAM")
				kernel[made[3]] = counts
			}
		default:
			counts = strings.HasPrefix(descriptor, "NETLINK:") || kernel[descriptor]
		}
		switch {
		case counts && children[process]:
			c.Children++
		case counts:
			c.Netlink++
		}
	}
	return c
}
