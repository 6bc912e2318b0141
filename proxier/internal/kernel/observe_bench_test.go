//go:build kernel

package kernel_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os/exec"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	vnl "github.com/vishvananda/netlink"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel/kerneltest"
)

// sized returns n Services of one family with 5 endpoints each.
func sized(family cluster.Family, n int) *dataplane.State {
	w := dataplane.NewWant(dataplane.Foundation(kerneltest.Config))
	at := func(a, b, c, d byte) netip.Addr {
		if family == cluster.IPv6 {
			return netip.AddrFrom16([16]byte{0xfd, 0, 0, a, 0, b, 12: 0, 13: c, 14: 0, 15: d})
		}
		return netip.AddrFrom4([4]byte{10, b, c, d})
	}
	for i := range n {
		s := cluster.Service{
			Name:       cluster.Name{Namespace: "ns", Name: fmt.Sprint(i)},
			ClusterIPs: []netip.Addr{at(1, 96, byte(i>>8), byte(i))},
			Ports:      []cluster.ServicePort{{Protocol: cluster.TCP, Port: 80, Scheduler: "rr"}},
		}
		for e := range 5 {
			s.Ports[0].Endpoints = append(s.Ports[0].Endpoints,
				cluster.Endpoint{Addr: at(2, 244, byte(i), byte(e+1)), Port: 80, Ready: true, Remote: true})
		}
		w.Set(dataplane.Compile(s, dataplane.Node{}, kerneltest.Config), map[cluster.Name]struct{}{})
	}
	return w.State
}

// bare makes the system calls of a look at the kernel and throws away the answers: the floor below Observe.
type bare struct {
	testing.TB
	ipvs, route, sets, dests int
	family                   uint16
	buf, room                []byte
}

func newBare(t testing.TB) *bare {
	family, err := vnl.GenlFamilyGet("IPVS")
	if err != nil {
		t.Fatal(err)
	}
	b := &bare{TB: t, family: family.ID, buf: make([]byte, 64<<10), room: make([]byte, 24+32*96)}
	for protocol, fd := range map[int]*int{
		unix.NETLINK_GENERIC: &b.ipvs, unix.NETLINK_ROUTE: &b.route, unix.NETLINK_NETFILTER: &b.sets,
	} {
		if *fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(*fd) })
	}
	if b.dests, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(b.dests) })
	return b
}

// dump sends the request and reads up to its end.
func (b *bare) dump(fd int, request []byte) {
	binary.NativeEndian.PutUint32(request, uint32(len(request)))
	binary.NativeEndian.PutUint16(request[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	if _, err := unix.Write(fd, request); err != nil {
		b.Fatal(err)
	}
	for {
		n, err := unix.Read(fd, b.buf)
		if err != nil {
			b.Fatal(err)
		}
		for data := b.buf[:n]; len(data) >= unix.SizeofNlMsghdr; data = data[(binary.NativeEndian.Uint32(data)+3)&^3:] {
			switch binary.NativeEndian.Uint16(data[4:]) {
			case unix.NLMSG_DONE:
				return
			case unix.NLMSG_ERROR:
				b.Fatal("dump refused")
			}
		}
	}
}

func message(kind uint16, body ...byte) []byte {
	m := make([]byte, unix.SizeofNlMsghdr, 256)
	binary.NativeEndian.PutUint16(m[4:], kind)
	return append(m, body...)
}

func (b *bare) services() { b.dump(b.ipvs, message(b.family, 4, 1, 0, 0)) }

func (b *bare) addresses() {
	b.dump(b.route, message(unix.RTM_GETADDR, make([]byte, unix.SizeofIfAddrmsg)...))
}

// entries lists all sets with their entries.
func (b *bare) entries() { b.dump(b.sets, message(6<<8|7, 0, 0, 0, 0, 5, 0, 1, 0, 6, 0, 0, 0)) }

func (b *bare) programs() {
	for _, program := range []string{"iptables-save", "ip6tables-save"} {
		if _, err := exec.Command(program).Output(); err != nil {
			b.Fatal(err)
		}
	}
}

// realServers asks for those of each virtual server, by getsockopt in IPv4.
func (b *bare) realServers(ids []dataplane.VirtualServerID) {
	for _, id := range ids {
		if id.Addr.Is6() {
			b.dump(b.ipvs, b.destRequest(id))
			continue
		}
		clear(b.room)
		binary.NativeEndian.PutUint16(b.room, uint16(id.Protocol))
		addr := id.Addr.As4()
		copy(b.room[4:], addr[:])
		binary.BigEndian.PutUint16(b.room[8:], id.Port)
		binary.NativeEndian.PutUint32(b.room[16:], 32)
		size := uint32(len(b.room))
		if _, _, errno := unix.Syscall6(
			unix.SYS_GETSOCKOPT, uintptr(b.dests), unix.SOL_IP, 64+1024+64+4, uintptr(unsafe.Pointer(&b.room[0])),
			uintptr(unsafe.Pointer(&size)), 0,
		); errno != 0 {
			b.Fatal(errno)
		}
	}
}

func (b *bare) destRequest(id dataplane.VirtualServerID) []byte {
	m := message(b.family, 8, 1, 0, 0)
	start := len(m)
	attribute := func(kind uint16, value ...byte) {
		m = binary.NativeEndian.AppendUint16(m, uint16(len(value)+4))
		m = append(binary.NativeEndian.AppendUint16(m, kind), value...)
		for len(m)%4 != 0 {
			m = append(m, 0)
		}
	}
	attribute(1 | unix.NLA_F_NESTED)
	attribute(1, unix.AF_INET6, 0)
	attribute(2, byte(id.Protocol), 0)
	attribute(3, id.Addr.AsSlice()...)
	attribute(4, byte(id.Port>>8), byte(id.Port))
	binary.NativeEndian.PutUint16(m[start:], uint16(len(m)-start))
	return m
}

// proc reads /proc/net/ip_vs.
func (b *bare) proc() {
	fd, err := unix.Open("/proc/thread-self/net/ip_vs", unix.O_RDONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(fd)
	for {
		n, err := unix.Read(fd, b.buf)
		if err != nil {
			b.Fatal(err)
		}
		if n == 0 {
			return
		}
	}
}

// processorTime is that of this process and of the programs that it started.
func processorTime(t testing.TB) (own, children time.Duration) {
	var times [2]time.Duration
	for i, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if err := unix.Getrusage(who, &u); err != nil {
			t.Fatal(err)
		}
		times[i] = time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return times[0], times[1]
}

// BenchmarkObserveSize compares a look at the whole kernel with the bare system calls, in the same run, and shows the
// parts of those. Each is the best of several, since others compute on the same machine.
func BenchmarkObserveSize(b *testing.B) {
	for _, family := range []cluster.Family{cluster.IPv4, cluster.IPv6} {
		for _, n := range []int{1000, 10_000} {
			b.Run(fmt.Sprintf("%s/%d", family, n), func(b *testing.B) {
				kerneltest.Own(b)
				k, floor := openLinux(b), newBare(b)
				full := sized(family, n)
				apply(b, k, from(dataplane.NewState(), full))
				var ids []dataplane.VirtualServerID
				for id := range full.VirtualServers {
					ids = append(ids, id)
				}
				parts := map[string]time.Duration{}
				var own, children time.Duration
				least := func(of *time.Duration, took time.Duration) {
					if *of == 0 || took < *of {
						*of = took
					}
				}
				measure := func(name string, f func()) {
					began := time.Now()
					f()
					took := parts[name]
					least(&took, time.Since(began))
					parts[name] = took
				}
				b.ReportAllocs()
				for b.Loop() {
					measure("services", floor.services)
					measure("real-servers", func() { floor.realServers(ids) })
					measure("addresses", floor.addresses)
					measure("entries", floor.entries)
					measure("programs", floor.programs)
					measure("proc", floor.proc)
					own0, children0 := processorTime(b)
					measure("observe", func() {
						if seen, err := k.Observe(); err != nil || len(seen.State.VirtualServers) != n {
							b.Fatal(err, len(seen.State.VirtualServers))
						}
					})
					own1, children1 := processorTime(b)
					least(&own, own1-own0)
					least(&children, children1-children0)
				}
				for name, took := range parts {
					b.ReportMetric(float64(took.Microseconds())/1000, "ms/"+name)
				}
				floorTook := parts["services"] + parts["real-servers"] + parts["addresses"] + parts["entries"] + parts["programs"]
				b.ReportMetric(float64(parts["observe"])/float64(floorTook), "observe/bare")
				b.ReportMetric(float64(own.Microseconds())/1000, "cpu-ms")
				b.ReportMetric(float64(children.Microseconds())/1000, "cpu-ms/programs")
			})
		}
	}
}
