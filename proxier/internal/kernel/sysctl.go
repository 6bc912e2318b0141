package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	wire "github.com/ipvs-proxier/ipvs-proxier/internal/ipvs"
	"github.com/ipvs-proxier/ipvs-proxier/internal/netlink"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// sysctlPath returns the file of a parameter. /proc/sys/net shows the namespace of the process that opens it.
func sysctlPath(name string) string { return "/proc/sys/" + strings.ReplaceAll(name, ".", "/") }

func readSysctl(name string) (string, error) { return readFile(sysctlPath(name)) }

func readFile(path string) (string, error) {
	data, err := os.ReadFile(path)
	return strings.TrimSpace(string(data)), err
}

// hostRoot is where a container has the node's /proc/sys/net when its own is read-only, as it is without privileges
// (deploy/ipvs-proxier.yaml). It shows the network namespace of the process just as its own does.
var hostRoot = "/host"

func writeFile(path, value string) error {
	err := os.WriteFile(path, []byte(value), 0o644)
	if errors.Is(err, unix.EROFS) {
		if hostErr := os.WriteFile(hostRoot+path, []byte(value), 0o644); !errors.Is(hostErr, fs.ErrNotExist) {
			return hostErr
		}
	}
	return err
}

func writeSysctl(name, value string) error {
	if err := writeFile(sysctlPath(name), value); err != nil {
		return fmt.Errorf("write %s: %w (%s; in force is what the kernel has)", value, err, whyNot(name, err))
	}
	return nil
}

// whyNot says what to do about a parameter that could not be written.
func whyNot(name string, err error) string {
	switch {
	case errors.Is(err, unix.EROFS):
		return "/proc/sys is mounted read-only: in a container mount the node's /proc/sys/net at " + hostRoot +
			"/proc/sys/net, or run it privileged"
	case errors.Is(err, fs.ErrNotExist):
		return "this kernel has no parameter " + name + ", or its module is not loaded"
	}
	return "the process needs CAP_NET_ADMIN, and CAP_SYS_ADMIN in the initial user namespace for what is not the network's own"
}

// Sysctl reads a parameter by the name that dataplane.Sysctl has for it. One that does not exist is fs.ErrNotExist.
func (k *Linux) Sysctl(name string) (value string, err error) {
	if isTimeout(name) {
		value, err = k.ipvs.timeout(name)
	} else {
		if name == expireNodest {
			k.ipvs.expiry.Lock()
			defer k.ipvs.expiry.Unlock()
		}
		value, err = readSysctl(name)
	}
	if err != nil {
		return "", fmt.Errorf("read sysctl %s: %w", name, err)
	}
	return value, nil
}

func (k *Linux) setSysctl(name, value string) error {
	if isTimeout(name) {
		return k.ipvs.setTimeout(name, value)
	}
	return writeSysctl(name, value)
}

// timeoutAttrs are the attributes of IPVS's timeouts.
var timeoutAttrs = map[string]uint16{
	dataplane.SysctlTCPTimeout: 4, dataplane.SysctlTCPFinTimeout: 5, dataplane.SysctlUDPTimeout: 6,
}

func isTimeout(name string) bool { return timeoutAttrs[name] != 0 }

// timeout reads one of the three timeouts.
func (v *ipvs) timeout(name string) (value string, err error) {
	v.batch.Reset()
	v.begin(wire.GetConfig)
	v.batch.End()
	answer, err := v.socket.Ask(&v.batch)
	if err != nil {
		return "", err
	}
	const header = 4 // struct genlmsghdr
	netlink.Attributes(answer[min(header, len(answer)):], func(attr uint16, seconds []byte) {
		if attr == timeoutAttrs[name] {
			value = strconv.FormatUint(uint64(netlink.Uint32(seconds)), 10)
		}
	})
	if value == "" {
		return "", fmt.Errorf("IPVS does not report %s", name)
	}
	return value, nil
}

// setTimeout sets one of them. Those that a message does not carry stay (net/netfilter/ipvs/ip_vs_ctl.c,
// ip_vs_genl_set_config), and 0 means the same, so that there is no way to set it.
func (v *ipvs) setTimeout(name, value string) error {
	seconds, err := strconv.ParseUint(value, 10, 31)
	if err != nil || seconds == 0 {
		return fmt.Errorf("%q is not a number of seconds from 1 on: %w", value, unix.EINVAL)
	}
	v.batch.Reset()
	v.begin(wire.SetConfig)
	v.batch.Uint32(timeoutAttrs[name], uint32(seconds))
	v.batch.End()
	return v.socket.Execute(&v.batch)[0]
}
