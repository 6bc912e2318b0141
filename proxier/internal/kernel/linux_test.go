//go:build kernel

package kernel_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel/kerneltest"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

func openLinux(t testing.TB) *kernel.Linux {
	t.Helper()
	var sysctls []string
	for name := range dataplane.Foundation(kerneltest.Config).Sysctls {
		sysctls = append(sysctls, name)
	}
	k, err := kernel.NewLinux(kernel.LinuxConfig{
		Link: kerneltest.Config.Link, Families: kerneltest.Config.Families, Sysctls: sysctls,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

func openBeside(t testing.TB, k *kernel.Linux) *kernel.LinuxReader {
	t.Helper()
	reader, err := k.OpenReader()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := reader.Close(); err != nil {
			t.Error(err)
		}
	})
	return reader
}

func TestLinuxKeepsTheContract(t *testing.T) {
	kerneltest.Run(t, func(t *testing.T) (kerneltest.Kernel, kerneltest.Reader, kerneltest.Flows) {
		kerneltest.Own(t)
		k := openLinux(t)
		return k, openBeside(t, k), newLinuxFlows(t)
	})
}

// shell runs a command in the namespace of the calling thread.
func shell(t testing.TB, command string) string {
	t.Helper()
	out, err := exec.Command("sh", "-ec", command).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return string(out)
}

func apply(t testing.TB, k *kernel.Linux, ops []dataplane.Op) {
	t.Helper()
	if err := errors.Join(k.Apply(ops)...); err != nil {
		t.Fatal(err)
	}
}

// want returns n Services with endpoints real servers each.
func want(n, endpoints int) *dataplane.State { return wantBy(dataplane.ByAddress, n, endpoints) }

func wantBy(mode dataplane.VIPMode, n, endpoints int) *dataplane.State {
	config := kerneltest.Config
	config.VIPs = mode
	w := dataplane.NewWant(dataplane.Foundation(config))
	for i := range n {
		s := cluster.Service{
			Name:       cluster.Name{Namespace: "ns", Name: fmt.Sprint(i)},
			ClusterIPs: []netip.Addr{netip.AddrFrom4([4]byte{10, 96, byte(i >> 8), byte(i)})},
			Ports:      []cluster.ServicePort{{Protocol: cluster.TCP, Port: 80, Scheduler: "rr"}},
		}
		for e := range endpoints {
			s.Ports[0].Endpoints = append(s.Ports[0].Endpoints, cluster.Endpoint{
				Addr: netip.AddrFrom4([4]byte{10, 244, byte(i), byte(e + 1)}), Port: 80, Ready: true, Remote: true})
		}
		w.Set(dataplane.Compile(s, dataplane.Node{}, config), map[cluster.Name]struct{}{})
	}
	return w.State
}

func from(have, want *dataplane.State) []dataplane.Op {
	return dataplane.Diff(have, want, dataplane.All(nil, have, want))
}

// TestForeignObjectsSurvive: what others have in the kernel is never ours, and stays.
func TestForeignObjectsSurvive(t *testing.T) {
	kerneltest.Own(t)
	shell(t, `
ip link add other type dummy; ip link set other up; ip addr add 10.96.77.77/32 dev other; ip -6 addr add fd00:77::1/64 dev other nodad
ipvsadm -A -t 10.96.77.77:80 -s wrr; ipvsadm -a -t 10.96.77.77:80 -r 10.244.9.9:80 -g -w 3
ipvsadm -A -u '[fd00:96::77]:53' -s rr -p 60; ipvsadm -A -f 42 -s rr; ipvsadm -a -f 42 -r 10.244.9.9:80 -m
ipset create KUBE-X hash:ip,port; ipset add KUBE-X 10.96.77.77,tcp:80; ipset create other6 hash:net family inet6
iptables -t nat -N KUBE-X; iptables -t nat -A PREROUTING -m set --match-set KUBE-X dst,dst -j KUBE-X; iptables -P FORWARD DROP
ip6tables -A INPUT -p tcp --dport 22 -j ACCEPT
iptables -t nat -A KUBE-X -m comment --comment "about IPVSP-SERVICES" -j RETURN
# Local routes of others, and some that only look like ours: another metric, another table, another link, a network.
ip route add local 10.96.88.1/32 dev lo table local; ip -6 route add local fd00:88::1/128 dev lo table local
ip route add local 10.96.0.1/32 dev lo table local proto 73; ip -6 route add local fd00:96::1/128 dev lo table local proto 73
ip route add local 10.96.88.2/32 dev lo table 100 proto 73 metric 73; ip -6 route add local fd00:88::2/128 dev lo table 100 proto 73 metric 73
ip route add local 10.96.88.3/32 dev other table local proto 73 metric 73; ip -6 route add local fd00:88::3/128 dev other table local proto 73 metric 73
ip route add local 10.96.89.0/24 dev lo table local proto 73 metric 73; ip -6 route add local fd00:89::/64 dev lo table local proto 73 metric 73`)
	changing := regexp.MustCompile(`(?m)^#.*\n|\[\d+:\d+\]|initval \S+`)
	state := func() string {
		return changing.ReplaceAllString(shell(t,
			"ipvsadm -Sn; ipset save -sorted; iptables-save -t nat; iptables-save -t filter; ip6tables-save -t nat; ip6tables-save -t filter; ip -br addr show dev other; ip route show table all type local; ip -6 route show table all type local"), "")
	}
	shell(t, "iptables -t nat -S; ip6tables -t nat -S; ip6tables -S") // tables that are used appear in the listing
	before := state()
	k := openLinux(t)
	seen, err := k.Observe()
	if err != nil {
		t.Fatal(err)
	}
	ours := *seen.State
	ours.Sysctls = nil
	if text := ours.Text(); text != "" {
		t.Errorf("taken for ours:\n%s", text)
	}
	if len(seen.Foreign) != 2 {
		t.Errorf("foreign: %v, want two virtual servers with addresses", seen.Foreign)
	}
	if want := []string{"10.96.77.77", "fd00:77::1"}; fmt.Sprint(seen.NodeAddresses) != fmt.Sprint(want) {
		t.Errorf("node addresses %v, want %v", seen.NodeAddresses, want)
	}
	for _, mode := range []dataplane.VIPMode{dataplane.ByAddress, dataplane.ByRoute} {
		if seen, err = k.Observe(); err != nil {
			t.Fatal(err)
		}
		apply(t, k, from(seen.State, wantBy(mode, 20, 3)))
		again, err := k.Observe()
		if err != nil {
			t.Fatal(err)
		}
		apply(t, k, from(again.State, dataplane.NewState()))
		if diff := cmp.Diff(before, state()); diff != "" {
			t.Errorf("%s (-before +after):\n%s", mode, diff)
		}
	}
}

// TestRestartFindsWhatWasWritten: a second adapter, which has written nothing itself, sees exactly what the first one
// wrote, however iptables spells it.
func TestRestartFindsWhatWasWritten(t *testing.T) {
	kerneltest.Own(t)
	have := dataplane.NewState()
	for _, mode := range []dataplane.VIPMode{dataplane.ByAddress, dataplane.ByRoute} {
		w := wantBy(mode, 3, 2)
		apply(t, openLinux(t), from(have, w))
		seen, err := openLinux(t).Observe()
		if err != nil {
			t.Fatal(err)
		}
		if ops := from(seen.State, w); len(ops) > 0 {
			t.Errorf("%s: a restart would write: %v", mode, ops)
		}
		have = seen.State
	}
}

// TestWritesAreBatched: thousands of operations need few system calls and no process each.
func TestWritesAreBatched(t *testing.T) {
	kerneltest.Own(t)
	k := openLinux(t)
	foundation := dataplane.Foundation(kerneltest.Config)
	apply(t, k, from(dataplane.NewState(), foundation))
	before := k.Traffic()
	ops := from(foundation, want(1000, 5))
	apply(t, k, ops)
	now := k.Traffic()
	if len(ops) < 9000 || now.Sends-before.Sends > 100 || now.Processes != before.Processes {
		t.Errorf("%d operations took %d messages in %d sends, and %d processes",
			len(ops), now.Messages-before.Messages, now.Sends-before.Sends, now.Processes-before.Processes)
	}
	seen, err := k.Observe()
	if err != nil {
		t.Fatal(err)
	}
	if ops := from(seen.State, want(1000, 5)); len(ops) > 0 {
		t.Errorf("%d operations are still to be done, the first one %s", len(ops), ops[0])
	}
}

// TestChangesByOthersAreSeen: what others set on our virtual and real servers, and we never do, is a difference, and
// repaired.
func TestChangesByOthersAreSeen(t *testing.T) {
	kerneltest.Own(t)
	k := openLinux(t)
	w := want(1, 2)
	apply(t, k, from(dataplane.NewState(), w))
	// The first one comes before the adapter has looked again, and leaves the number of rules as it is.
	for _, damage := range []string{
		"iptables -t nat -R IPVSP-SERVICES 1 -j RETURN",
		"ipvsadm -e -t 10.96.0.0:80 -r 10.244.0.1:80 -m -w 65537",
		"ipvsadm -E -t 10.96.0.0:80 -s rr -p 60 -M 255.255.255.0",
		"ipvsadm -e -t 10.96.0.0:80 -r 10.244.0.1:80 -g",
		"ipvsadm -e -t 10.96.0.0:80 -r 10.244.0.2:80 -m -x 10 -y 5",
		"iptables -t nat -I IPVSP-SERVICES -j RETURN",
		"ip6tables -F IPVSP-INPUT",
		"sysctl -q -w net.ipv4.vs.conntrack=0",
		"sysctl -q -w net.ipv6.conf.all.forwarding=0",
		"ipvsadm --set 900 120 300",
		"ipvsadm --set 0 0 17",
	} {
		shell(t, damage)
		seen, err := k.Observe()
		if err != nil {
			t.Fatal(err)
		}
		ops := from(seen.State, w)
		if len(ops) == 0 {
			t.Errorf("%s: not seen", damage)
		}
		apply(t, k, ops)
		if seen, err = k.Observe(); err != nil {
			t.Fatal(err)
		}
		if ops := from(seen.State, w); len(ops) > 0 {
			t.Errorf("%s: still to be done: %v", damage, ops)
		}
	}
}

// TestFullSetIsTold: an entry that does not fit is the one that fails, and the kernel's reason is put into words.
func TestFullSetIsTold(t *testing.T) {
	kerneltest.Own(t)
	k := openLinux(t)
	set := dataplane.Set{
		Set: ipset.Set{Name: "IPVSP-SMALL", Type: ipset.HashIP, Family: ipset.IPv4, HashSize: 64, MaxElem: 64},
	}
	ops := []dataplane.Op{{Verb: dataplane.Create, Object: set}}
	for i := range 200 {
		ops = append(ops, dataplane.Op{Verb: dataplane.Create, Object: dataplane.SetEntry{
			Set: set.Name, Type: set.Type, Entry: ipset.Entry{Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})},
		}})
	}
	failed := 0
	for i, err := range k.Apply(ops) {
		if err != nil {
			failed++
			if !strings.Contains(err.Error(), "has no room for this entry") {
				t.Errorf("%s: %v; want it to say that the set has no room", ops[i], err)
			}
		}
	}
	seen, err := k.Observe()
	if err != nil {
		t.Fatal(err)
	}
	if seen.State.Entries.Len() != 200-failed || failed == 0 {
		t.Errorf("%d entries are in, %d failed of 200", seen.State.Entries.Len(), failed)
	}
}

// TestCloseTwice is no error, and closes nothing of anybody else's.
func TestCloseTwice(t *testing.T) {
	kerneltest.Own(t)
	k := openLinux(t) // which closes it again
	if err := k.Close(); err != nil {
		t.Error(err)
	}
}

// TestMissingSchedulerIsRefused says ENOENT, and changes nothing.
func TestMissingSchedulerIsRefused(t *testing.T) {
	kerneltest.Own(t)
	k := openLinux(t)
	errs := k.Apply([]dataplane.Op{{Verb: dataplane.Create, Object: dataplane.VirtualServerObject{
		ID:        dataplane.VirtualServerID{Addr: netip.MustParseAddr("10.96.0.1"), Port: 80, Protocol: cluster.TCP},
		Scheduler: "nosuch"}}})
	if !errors.Is(errs[0], unix.ENOENT) {
		t.Errorf("%v, want ENOENT", errs[0])
	}
}

// TestProbe finds the schedulers that can be had, and leaves nothing behind.
func TestProbe(t *testing.T) {
	kerneltest.Own(t)
	facts, err := kernel.Probe(append(scheduler.KernelNames(), "nosuch"), kernel.Iptables)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range scheduler.KernelNames() {
		// Some kernels are built without twos.
		if !slices.Contains(facts.Schedulers, name) && name != "twos" {
			t.Errorf("scheduler %s is not found among %v", name, facts.Schedulers)
		}
	}
	t.Logf("this kernel has %v", facts.Schedulers)
	if slices.Contains(facts.Schedulers, "nosuch") || facts.KernelMajor < 4 {
		t.Errorf("%+v", facts)
	}
	if left := shell(t, "ipvsadm -Sn"); left != "" {
		t.Errorf("left: %s", left)
	}
}

// TestWatch: of other links, Watch reports each change of an address, and which one is gone. Of our own link and routes
// it reports what is gone only. It reports the end of our link, also when the link was made anew, and no other link's
// end.
func TestWatch(t *testing.T) {
	kerneltest.Own(t)
	k := openLinux(t)
	apply(t, k, from(dataplane.NewState(), want(1, 1)))
	shell(t, "ip link add other type dummy")
	changed, ours, gone := make(chan kernel.AddressChange, 100), make(chan kernel.AddressChange,
		1000), make(chan struct{}, 100)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	namespace, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := unix.Setns(namespace, unix.CLONE_NEWNET); err != nil {
			ended <- err
			return
		}
		ended <- kernel.Watch(ctx, kerneltest.Config.Link, kernel.WatchHandlers{
			Addresses: func(c kernel.AddressChange) { changed <- c }, Ours: func(c kernel.AddressChange) { ours <- c },
			LinkGone: func() { gone <- struct{}{} },
		})
	}()
	// The watch has begun when the first change is reported; each try adds another address.
	deadline := time.Now().Add(20 * time.Second)
	for i := 1; ; i++ {
		shell(t, fmt.Sprintf("ip addr add 192.168.50.%d/32 dev other", i))
		select {
		case <-changed:
		case err := <-ended:
			t.Fatal(err)
		case <-time.After(100 * time.Millisecond):
			if time.Now().After(deadline) {
				t.Fatal("no address is reported")
			}
			continue
		}
		break
	}
	for quiet := false; !quiet; { // the report of an earlier try may be late
		select {
		case <-changed:
		case <-time.After(500 * time.Millisecond):
			quiet = true
		}
	}
	// A report on our own link would come before the last of these addresses is there. The link made anew has another
	// number.
	shell(t, "for i in $(seq 50); do ip addr add 192.168.51.$i/32 dev "+kerneltest.Config.Link+"; done")
	if n := len(ours); n > 0 {
		t.Errorf("%d addresses of our own link are reported as gone, although some were only added", n)
	}
	lose := func(command, addr string) {
		t.Helper()
		shell(t, command)
		want := kernel.AddressChange{Gone: netip.MustParseAddr(addr)}
		for got := (kernel.AddressChange{}); got != want; {
			select {
			case got = <-ours:
			case err := <-ended:
				t.Fatal(err)
			case <-time.After(20 * time.Second):
				t.Fatalf("after %s it is not reported that %s is gone", command, addr)
			}
		}
	}
	lose("ip addr del 192.168.51.7/32 dev "+kerneltest.Config.Link, "192.168.51.7")
	lose(fmt.Sprintf("ip addr add fd00:51::1/128 dev %[1]s nodad; ip addr del fd00:51::1/128 dev %[1]s",
		kerneltest.Config.Link), "fd00:51::1")
	lose("ip route add local 192.168.53.1/32 dev lo table local proto 73 metric 73; ip route del local 192.168.53.1/32 dev lo table local metric 73", "192.168.53.1")
	shell(t, "ip route add 192.168.54.0/24 dev lo; ip route del 192.168.54.0/24")
	if n := len(ours); n > 0 {
		t.Errorf("%d routes of others are reported", n)
	}
	shell(t,
		fmt.Sprintf("ip link del %[1]s; ip link add %[1]s type dummy; for i in $(seq 50); do ip addr add 192.168.51.$i/32 dev %[1]s; done", kerneltest.Config.Link))
	if n := len(changed); n > 0 {
		t.Errorf("%d changes of our own link are reported", n)
	}
	end := func(how string) {
		t.Helper()
		select {
		case <-gone:
		case err := <-ended:
			t.Fatal(err)
		case <-time.After(20 * time.Second):
			t.Fatalf("our link's end is not reported after: %s", how)
		}
	}
	end("it is made anew")
	// Nothing else is its end: another link's, a port that leaves a bridge, ours going down.
	shell(t,
		fmt.Sprintf("ip link add third type dummy; ip link del third; ip link add bridge type bridge; ip link set %[1]s master bridge; ip link set %[1]s nomaster; ip link set %[1]s up; ip link set %[1]s down", kerneltest.Config.Link))
	shell(t, "ip link del "+kerneltest.Config.Link)
	end("it is deleted")
	shell(t,
		fmt.Sprintf("ip link add %[1]s type dummy; ip netns add elsewhere; ip link set %[1]s netns elsewhere; ip netns del elsewhere", kerneltest.Config.Link))
	end("it is moved away")
	shell(t, "ip addr add 192.168.52.1/32 dev other; ip addr del 192.168.52.1/32 dev other; ip addr add fd00:52::1/64 dev other nodad; ip addr del fd00:52::1/64 dev other")
	for _, lost := range []string{"", "192.168.52.1", "", "fd00:52::1"} {
		want := kernel.AddressChange{}
		if lost != "" {
			want.Gone = netip.MustParseAddr(lost)
		}
		select {
		case got := <-changed:
			if got != want {
				t.Errorf("reported %+v, want %+v", got, want)
			}
		case err := <-ended:
			t.Fatal(err)
		case <-time.After(20 * time.Second):
			t.Fatalf("changes of another link are no longer reported; want %+v", want)
		}
	}
	if n := len(gone); n > 0 {
		t.Errorf("the end of our link is reported %d times more", n)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestConnectionCounter reads real servers with their connections.
func TestConnectionCounter(t *testing.T) {
	kerneltest.Own(t)
	k := openLinux(t)
	apply(t, k, from(dataplane.NewState(), want(2, 3)))
	counter, err := kernel.NewConnectionCounter()
	if err != nil {
		t.Fatal(err)
	}
	defer counter.Close()
	id := dataplane.VirtualServerID{Addr: netip.MustParseAddr("10.96.0.1"), Port: 80, Protocol: cluster.TCP}
	v, present, counts, err := counter.VirtualServer(id)
	if err != nil || !present || len(v.RealServers) != 3 || len(counts) != 3 || v.Scheduler == "" {
		t.Errorf("%+v %v %v %v", v, present, counts, err)
	}
	id.Port = 81
	if _, present, counts, err := counter.VirtualServer(id); err != nil || present || len(counts) != 0 {
		t.Errorf("one that is not there: %v %v %v", present, counts, err)
	}
}

// BenchmarkApply shows what batching is worth: the time of one operation alone, divided by that of one among many, in
// the same run.
func BenchmarkApply(b *testing.B) {
	kerneltest.Own(b)
	k := openLinux(b)
	foundation, full := dataplane.Foundation(kerneltest.Config), want(200, 5)
	apply(b, k, from(dataplane.NewState(), foundation))
	up, down := from(foundation, full), from(full, foundation)
	var together, alone time.Duration
	for b.Loop() {
		began := time.Now()
		apply(b, k, up)
		together += time.Since(began)
		apply(b, k, down)
		began = time.Now()
		for i := range up {
			apply(b, k, up[i:i+1])
		}
		alone += time.Since(began)
		apply(b, k, down)
	}
	b.ReportMetric(float64(together.Microseconds())/float64(b.N*len(up)), "us/op-batched")
	b.ReportMetric(float64(alone.Microseconds())/float64(b.N*len(up)), "us/op-alone")
	b.ReportMetric(float64(alone)/float64(together), "alone/batched")
}

// TestListeners: sockets that wait for clients are seen, connected ones are not.
func TestListeners(t *testing.T) {
	kerneltest.Own(t)
	k := openLinux(t)
	var open []interface{ Close() error }
	t.Cleanup(func() {
		for _, s := range open {
			s.Close()
		}
	})
	port := func(network, address string) uint16 {
		t.Helper()
		if strings.HasPrefix(network, "udp") {
			s, err := net.ListenPacket(network, address)
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, s)
			return s.LocalAddr().(*net.UDPAddr).AddrPort().Port()
		}
		s, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, s)
		return s.Addr().(*net.TCPAddr).AddrPort().Port()
	}
	want := map[dataplane.Listener]bool{
		{Protocol: cluster.TCP, Addr: netip.IPv4Unspecified(), Port: port("tcp4", "0.0.0.0:0")}:           true,
		{Protocol: cluster.TCP, Addr: netip.IPv6Unspecified(), Port: port("tcp6", "[::]:0")}:              true,
		{Protocol: cluster.TCP, Addr: netip.MustParseAddr("127.0.0.1"), Port: port("tcp", "127.0.0.1:0")}: true,
		{Protocol: cluster.UDP, Addr: netip.IPv4Unspecified(), Port: port("udp4", "0.0.0.0:0")}:           true,
		{Protocol: cluster.UDP, Addr: netip.IPv6Loopback(), Port: port("udp6", "[::1]:0")}:                true,
	}
	connected, err := net.Dial("udp4", "127.0.0.1:9")
	if err != nil {
		t.Fatal(err)
	}
	open = append(open, connected)
	seen, err := k.Observe()
	if err != nil {
		t.Fatal(err)
	}
	got := map[dataplane.Listener]bool{}
	for _, l := range seen.Listeners {
		got[l] = true
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("listeners (-want +got):\n%s", diff)
	}
}
