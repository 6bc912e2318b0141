//go:build kernel

package kernel_test

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel/kerneltest"
)

// TestConntrackLimitsOfANamespace: timeouts are written, and what is the whole machine's is left, in words.
func TestConntrackLimitsOfANamespace(t *testing.T) {
	kerneltest.Own(t)
	l := kernel.ConntrackLimits{
		MaxPerCore: 1 << 20, TCPEstablishedTimeout: 1234 * time.Second, UDPTimeout: 17 * time.Second, TCPBeLiberal: true,
	}
	changed, left, err := l.Apply()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range changed {
		names = append(names, c.Name[strings.LastIndex(c.Name, ".")+1:]+"="+c.New)
	}
	want := []string{
		"nf_conntrack_tcp_timeout_established=1234", "nf_conntrack_udp_timeout=17", "nf_conntrack_tcp_be_liberal=1",
	}
	if !slices.Equal(names, want) {
		t.Errorf("changed %v, want %v", names, want)
	}
	if got := strings.Fields(shell(
		t,
		"cd /proc/sys/net/netfilter; cat nf_conntrack_tcp_timeout_established nf_conntrack_udp_timeout nf_conntrack_tcp_be_liberal",
	)); !slices.Equal(got, []string{"1234", "17", "1"}) {
		t.Errorf("the kernel has %v", got)
	}
	if len(left) != 2 || !strings.Contains(left[0], "nf_conntrack_max stays ") ||
		!strings.Contains(left[1], "hashsize stays ") {
		t.Errorf("left: %q, want nf_conntrack_max and hashsize", left)
	}
	if changed, left, err = l.Apply(); err != nil || len(changed) != 0 || len(left) != 2 {
		t.Errorf("again: changed %v, left %q, %v; want nothing to change", changed, left, err)
	}
}

// TestConntrackLimitsOfTheNode raises the machine's own table, and puts it back.
func TestConntrackLimitsOfTheNode(t *testing.T) {
	const max, hash = "/proc/sys/net/netfilter/nf_conntrack_max", "/sys/module/nf_conntrack/parameters/hashsize"
	before := map[string]string{}
	for _, path := range []string{max, hash} {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		before[path] = strings.TrimSpace(string(data))
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if self, err := os.Readlink("/proc/thread-self/ns/net"); err != nil ||
		self != shellLine(t, "readlink /proc/1/ns/net") {
		t.Skip("not in the initial network namespace, where alone nf_conntrack_max can be changed: make test-kernel KERNEL=uml is")
	}
	defer func() {
		for path, value := range before {
			if err := os.WriteFile(path, []byte(value), 0o644); err != nil {
				t.Error(err)
			}
		}
	}()
	var least int
	if _, err := fmt.Sscan(before[max], &least); err != nil {
		t.Fatal(err)
	}
	l := kernel.ConntrackLimits{MaxPerCore: 1, Min: least + 4096}
	if changed, left, err := l.Apply(); err != nil || len(changed) == 0 || len(left) != 0 {
		t.Fatalf("changed %v, left %q, %v", changed, left, err)
	}
	if got := shellLine(t, "cat "+max); got != fmt.Sprint(least+4096) {
		t.Errorf("nf_conntrack_max is %s, want %d", got, least+4096)
	}
	l.Min = least
	if changed, left, err := l.Apply(); err != nil || len(changed) != 0 || len(left) != 0 {
		t.Errorf("lowered: %v, %q, %v", changed, left, err)
	}
}

func shellLine(t *testing.T, command string) string {
	t.Helper()
	return strings.TrimSpace(shell(t, command))
}

// TestReadOnlyParameters: where /proc/sys cannot be written, the error names the parameter, what to mount, and the flag
// that does without.
func TestReadOnlyParameters(t *testing.T) {
	kerneltest.Own(t)
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		t.Fatal(err)
	}
	shell(t, "mount --make-rprivate /; mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys")
	_, _, err := kernel.ConntrackLimits{TCPCloseWaitTimeout: 1234 * time.Second}.Apply()
	for _, want := range []string{
		"nf_conntrack_tcp_timeout_close_wait", "1234", "mounted read-only", "--conntrack-tcp-timeout-close-wait=0",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want it to name %q", err, want)
		}
	}
}

// TestParametersOfTheHost: a container whose own /proc/sys is read-only writes by way of the node's
// (deploy/ipvs-proxier.yaml).
func TestParametersOfTheHost(t *testing.T) {
	kerneltest.Own(t)
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		t.Fatal(err)
	}
	host := t.TempDir()
	t.Cleanup(kernel.SetHostRoot(host))
	shell(t, "mount --make-rprivate /; mkdir -p "+host+"/proc/sys; mount --bind /proc/sys "+host+
		"/proc/sys; mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys")
	changed, _, err := kernel.ConntrackLimits{TCPCloseWaitTimeout: 1234 * time.Second}.Apply()
	if err != nil || len(changed) != 1 {
		t.Fatalf("changed %v, %v", changed, err)
	}
	if got := shellLine(t, "cat /proc/sys/net/netfilter/nf_conntrack_tcp_timeout_close_wait"); got != "1234" {
		t.Errorf("the parameter is %s", got)
	}
	shell(t, "umount "+host+"/proc/sys")
}

// TestRoutersStayHeard: a link that lives by router advertisements keeps its default route when IPv6 forwarding is
// switched on. No other link's parameter changes.
func TestRoutersStayHeard(t *testing.T) {
	kerneltest.Own(t)
	shell(t, `
sysctl -q -w net.ipv6.conf.all.forwarding=0 net.ipv6.conf.default.accept_ra=1
ip link add pod type dummy; ip link set pod up; ip -6 addr add fd00:1::1/64 dev pod nodad
ip link add uplink type veth peer name router; ip link set uplink up`)
	advertise(t)
	changed, err := kernel.KeepRouterAdvertisements()
	if err != nil || len(changed) != 1 ||
		changed[0] != (dataplane.SysctlChange{Name: "net.ipv6.conf.uplink.accept_ra", Old: "1", New: "2"}) {
		t.Errorf("changed %v, %v; want accept_ra of the uplink, from 1 to 2", changed, err)
	}
	shell(t, "sysctl -q -w net.ipv6.conf.all.forwarding=1")
	if routes := shell(t, "ip -6 route show default dev uplink"); !strings.Contains(routes, "proto ra") {
		t.Errorf("the default route of the router is gone: %q", routes)
	}
	if changed, err := kernel.KeepRouterAdvertisements(); err != nil || len(changed) != 0 {
		t.Errorf("with forwarding on: changed %v, %v; want nothing", changed, err)
	}
}

// advertise makes the router at the other end of the uplink send an advertisement, and waits for its default route.
func advertise(t *testing.T) {
	t.Helper()
	sent := make(chan error)
	move := make(chan int)
	done := make(chan struct{})
	t.Cleanup(func() { close(done) }) // the link lives as long as its other end
	go func() {
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			sent <- err
			return
		}
		move <- unix.Gettid()
		<-move
		socket, err := routerSocket()
		for err == nil {
			select {
			case <-done:
				unix.Close(socket)
				return
			case sent <- sendAdvertisement(socket):
			}
		}
		sent <- err
	}()
	select {
	case tid := <-move:
		shell(t, fmt.Sprintf("ip link set router netns /proc/%d/ns/net; nsenter --net=/proc/%d/ns/net ip link set router addrgenmode eui64; nsenter --net=/proc/%d/ns/net ip link set router up", tid, tid, tid))
		move <- 0
	case err := <-sent:
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(
		shell(t, "ip -6 route show default dev uplink"), "proto ra",
	); {
		if err := <-sent; err != nil && err != unix.EADDRNOTAVAIL {
			t.Fatal(err)
		}
		if time.Now().After(deadline) {
			t.Fatal("no default route comes of the advertisement:\n" +
				shell(t, "ip -6 addr; ip -6 route; sysctl -a --pattern 'ipv6.conf.uplink.(accept_ra|forwarding)$'"))
		}
	}
}

// routerSocket opens a socket on the link router, with the hop limit that neighbour discovery demands.
func routerSocket() (int, error) {
	socket, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
	if err == nil {
		err = unix.SetsockoptInt(socket, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, 255)
	}
	if err == nil {
		err = unix.BindToDevice(socket, "router")
	}
	return socket, err
}

func sendAdvertisement(socket int) error {
	message := make([]byte, 16)
	message[0], message[4] = 134, 64              // router advertisement, hop limit
	message[6], message[7] = 1800>>8, 1800&0xff   // lifetime in seconds
	allNodes := [16]byte{0: 0xff, 1: 0x02, 15: 1} // the kernel adds the checksum
	return unix.Sendto(socket, message, 0, &unix.SockaddrInet6{Addr: allNodes})
}

// TestUserNamespace: as root of a user namespace, which may do everything in a network namespace of its own, IPVS
// refuses to be read, and the error says why.
func TestUserNamespace(t *testing.T) {
	const inside = "IPVSP_TEST_IN_USER_NAMESPACE"
	if os.Getenv(inside) != "" {
		_, err := kernel.Probe(nil, kernel.Iptables)
		fmt.Println(err)
		return
	}
	c := exec.Command("/proc/self/exe", "-test.run=^TestUserNamespace$")
	c.Env = append(os.Environ(), inside+"=1")
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if want := "operation not permitted: it is in a user namespace (/proc/self/uid_map: 0 0 1)"; !strings.Contains(
		string(out), want,
	) {
		t.Errorf("it says %q, want %q", out, want)
	}
}
