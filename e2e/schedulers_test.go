//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// choice is a scheduler with its flags, as annotations say them for one port.
type choice struct{ scheduler, flags string }

// choices returns every scheduler that this kernel has, by default and with every combination of flags. even leaves
// none or adds one once more so that their number is even.
func (c *cluster) choices(even bool) (all []choice) {
	c.t.Helper()
	status, err := c.proxier.Status()
	c.must(err)
	for _, name := range scheduler.Names() {
		s, _ := scheduler.Lookup(name)
		if !slices.Contains(status.Schedulers, s.Kernel) {
			c.t.Logf("NOT TESTED: %s, which this kernel lacks", name)
			continue
		}
		all = append(all, choice{name, s.Default.String()})
		for _, flags := range []string{"none", "fallback", "port", "fallback+port"} {
			if s.Supported != 0 && flags != s.Default.String() {
				all = append(all, choice{name, flags})
			}
		}
	}
	if even && len(all)%2 == 1 {
		all = append(all, choice{"rr", "none"})
	}
	return all
}

// tableAddresses are those of the Service of table.
var tableAddresses = []string{"10.96.0.60", "fd00:10:96::60"}

// table is a Service with a TCP and a UDP port for each choice; the annotations give each its choice.
func table(choices []choice, change ...func(*v1.Service)) *v1.Service {
	s := service("table", tableAddresses)
	s.Spec.Ports = nil
	var schedulers, flags []string
	for i, choice := range choices {
		for _, protocol := range []v1.Protocol{v1.ProtocolTCP, v1.ProtocolUDP} {
			name := fmt.Sprintf("%s-%d", strings.ToLower(string(protocol)), i)
			s.Spec.Ports = append(s.Spec.Ports,
				v1.ServicePort{Name: name, Protocol: protocol, Port: tablePort(i), TargetPort: intstr.FromInt32(tableTarget(i))})
			schedulers = append(schedulers, name+"="+choice.scheduler)
			flags = append(flags, name+"="+strings.ReplaceAll(choice.flags, ",", "+"))
		}
	}
	s.Annotations["ipvs-proxier.io/scheduler"] = strings.Join(schedulers, ",")
	s.Annotations["ipvs-proxier.io/scheduler-flags"] = strings.Join(flags, ",")
	for _, f := range change {
		f(s)
	}
	return s
}

func tablePort(i int) int32 { return int32(1000 + i) }

// tableTarget is the port of the pods: each port of the Service has one of its own. A client may have two connections
// from one source port to two ports of a Service. To a pod that has both on one port they are the same, and IPVS does
// not translate source ports.
func tableTarget(i int) int32 { return int32(8100 + i) }

// tableBackend adds a pod that serves the table.
func (c *cluster) tableBackend(node, number int, name string) *topology.Host {
	c.t.Helper()
	var listen []string
	for i := range 2 * len(scheduler.Names()) {
		for _, network := range []string{"tcp", "udp"} {
			listen = append(listen, "--listen", fmt.Sprintf("%s://[::]:%d", network, tableTarget(i)))
		}
	}
	return c.backend(node, number, name, listen...)
}

// tableTargets returns the ports of the table's Service, for the load generator.
func tableTargets(network string, n int) (targets []string) {
	for i := range n {
		for _, ip := range tableAddresses {
			targets = append(targets, network+"://"+at(netip.MustParseAddr(ip), uint16(tablePort(i))).String())
		}
	}
	return targets
}

// settled waits until every virtual server of the table has its scheduler and the pods, and no others with a weight.
func (c *cluster) settled(step string, choices []choice, pods ...*topology.Host) {
	c.t.Helper()
	c.await(func() error {
		for i, choice := range choices {
			for _, network := range []string{"tcp", "udp"} {
				for _, ip := range tableAddresses {
					to := at(netip.MustParseAddr(ip), uint16(tablePort(i)))
					v, err := c.kernel.VirtualServer(network, to)
					if err != nil || v == nil {
						return fmt.Errorf("%s: %s %s: %v, %v", step, network, to, v, err)
					}
					var ready []string
					for _, r := range v.RealServers {
						if r.Weight > 0 {
							ready = append(ready, r.Address.Addr().String())
						}
					}
					var want []string
					for _, pod := range pods {
						want = append(want, hostAddr(pod, to.Addr()).String())
					}
					slices.Sort(ready)
					slices.Sort(want)
					if v.Scheduler != choice.scheduler || !slices.Equal(ready, want) {
						return fmt.Errorf("%s: %s %s is %s, want %s with %v", step, network, to, v.Text(), choice.scheduler, want)
					}
				}
			}
		}
		return nil
	})
}

// used waits until every virtual server of the table has got another connection: a step that nobody lived through shows
// nothing.
func (c *cluster) used(step string, choices []choice) {
	c.t.Helper()
	type key struct {
		network string
		to      netip.AddrPort
	}
	unused := map[key]uint32{} // with their connections at first
	count := func(k key) uint32 {
		v, err := c.kernel.VirtualServer(k.network, k.to)
		c.must(err)
		return v.Connections
	}
	for i := range choices {
		for _, network := range []string{"tcp", "udp"} {
			for _, ip := range tableAddresses {
				k := key{network, at(netip.MustParseAddr(ip), uint16(tablePort(i)))}
				unused[k] = count(k)
			}
		}
	}
	c.await(func() error {
		maps.DeleteFunc(unused, func(k key, first uint32) bool { return count(k) != first })
		if len(unused) > 0 {
			return fmt.Errorf("%s: no new connection to %v", step, slices.Collect(maps.Keys(unused)))
		}
		return nil
	})
}

// holdAll opens a connection to each TCP port of the table.
func (c *cluster) holdAll(from *topology.Host, n int) (held []net.Conn) {
	c.t.Helper()
	for i := range n {
		for _, ip := range tableAddresses {
			held = append(held, c.hold(from, at(netip.MustParseAddr(ip), uint16(tablePort(i))), 1)...)
		}
	}
	return held
}

// TestEverySchedulerUnderLoad: with every scheduler and flag, over TCP and UDP, in both families, endpoints come,
// change their weights, drain and go. The proxier is killed, too. Every request of the load is answered, and
// connections that were open stay usable.
func TestEverySchedulerUnderLoad(t *testing.T) {
	c := newCluster(t)
	client := c.pod(1, 50, "client")
	one, two, three := c.tableBackend(1, 10, "one"), c.tableBackend(2, 10, "two"), c.tableBackend(2, 11, "three")
	c.run()
	choices := c.choices(false)
	weight := func(text string) func(*v1.Service) { return annotated("ipvs-proxier.io/weight", text) }
	even := weight("*=1000") // ovf takes weights for numbers of connections
	c.write("table.yaml", with(table(choices, even), one, two))
	c.settled("the start", choices, one, two)
	held := c.holdAll(client, len(choices))

	var loads []*harness.Load
	began := time.Now()
	for _, l := range []struct{ mode, network string }{{"crr", "tcp"}, {"udp-rr", "udp"}} {
		loads = append(loads, c.startLoad(client, append([]string{
			"--mode", l.mode, "--rate", "150", "--duration", "5m", "--timeout", harness.Patiently(5 * time.Second).String(),
		}, tableTargets(l.network, len(choices))...)...))
	}
	for _, step := range []struct {
		name  string
		do    func()
		ready []*topology.Host
	}{
		{"an endpoint comes", func() { c.write("table.yaml", with(table(choices, even), one, two, three)) }, []*topology.Host{one, two, three}},
		{"weights change", func() { c.write("table.yaml", with(table(choices, weight("node=node1:3000,*=2000")), one, two, three)) }, []*topology.Host{one, two, three}},
		{"a node's weight is 0", func() { c.write("table.yaml", with(table(choices, weight("node=node1:0,*=5000")), one, two, three)) }, []*topology.Host{two, three}},
		{"the weight is back", func() { c.write("table.yaml", with(table(choices, even), one, two, three)) }, []*topology.Host{one, two, three}},
		{"an endpoint drains", func() { c.write("table.yaml", terminating(table(choices, even), two, one, two, three)) }, []*topology.Host{one, three}},
		{"it goes", func() { c.write("table.yaml", with(table(choices, even), one, three)) }, []*topology.Host{one, three}},
		{"the proxier is killed", func() { c.proxier.Kill() }, []*topology.Host{one, three}},
		{"the proxier is back", c.again, []*topology.Host{one, three}},
		{"one is left", func() { c.write("table.yaml", with(table(choices, even), three)) }, []*topology.Host{three}},
		{"all are back", func() { c.write("table.yaml", with(table(choices, even), one, two, three)) }, []*topology.Host{one, two, three}},
	} {
		did := time.Since(began)
		step.do()
		c.settled(step.name, choices, step.ready...)
		t.Logf("%s: done after %.1f s, in force after %.1f s", step.name, did.Seconds(), time.Since(began).Seconds())
		c.used(step.name, choices)
		stillUsable(t, held, step.name)
	}
	for _, l := range loads {
		r, err := l.Stop()
		c.must(err)
		t.Logf("%d requests, of which every one was to be answered: errors %v", r.Requests.Answered, r.Errors)
		withoutErrors(t, r)
	}
}

// terminating returns the manifests with one pod that ends and still serves.
func terminating(s *v1.Service, going *topology.Host, pods ...*topology.Host) string {
	text := manifest(s)
	for _, slice := range endpointSlices(s, pods...) {
		for i, e := range slice.Endpoints {
			if e.Addresses[0] == going.IPv4.String() || e.Addresses[0] == going.IPv6.String() {
				slice.Endpoints[i].Conditions = discovery.EndpointConditions{
					Ready: new(false), Serving: new(true), Terminating: new(true),
				}
			}
		}
		text += "---\n" + manifest(slice)
	}
	return text
}

// TestEveryTransition: from every scheduler with every combination of flags to every other, while weights and session
// affinity change too. No connection is refused or reset, and those that were open stay usable. Of UDP requests, which
// nobody sends again, fewer than one in a hundred is lost.
func TestEveryTransition(t *testing.T) {
	c := newCluster(t)
	client := c.pod(1, 50, "client")
	one, two, three := c.tableBackend(1, 10, "one"), c.tableBackend(2, 10, "two"), c.tableBackend(2, 11, "three")
	c.run()
	choices := c.choices(true)
	n := len(choices)
	// The differences of 0, 1, n-1, 2, n-2, ... are all of 1 to n-1, each once, where n is even: when every port goes
	// these steps from a choice of its own, every ordered pair of choices occurs.
	at := func(step int) []choice {
		offset := (step + 1) / 2
		if step%2 == 0 {
			offset = (n - step/2) % n
		}
		return slices.Concat(choices[offset:], choices[:offset])
	}
	done := map[[2]choice]bool{}
	c.write("table.yaml", with(table(at(0), annotated("ipvs-proxier.io/weight", "*=1000")), one, two, three))
	c.settled("the start", at(0), one, two, three)
	held := c.holdAll(client, n)
	tcp := c.startLoad(client, append([]string{
		"--mode", "crr", "--rate", "150", "--duration", "8m", "--timeout", harness.Patiently(10 * time.Second).String(),
	}, tableTargets("tcp", n)...)...)
	udp := c.startLoad(client, append([]string{
		"--mode", "udp-rr", "--rate", "150", "--duration", "8m", "--timeout", harness.Patiently(5 * time.Second).String(),
	}, tableTargets("udp", n)...)...)
	for step := 1; step < n; step++ {
		change := []func(*v1.Service){annotated("ipvs-proxier.io/weight", fmt.Sprintf("node=node1:%d,*=1000",
			1000*(1+step%4)))}
		if step%3 == 0 {
			change = append(change, affinity(int32(60*step)))
		}
		c.write("table.yaml", with(table(at(step), change...), one, two, three))
		c.settled(fmt.Sprint("step ", step), at(step), one, two, three)
		for i := range n {
			done[[2]choice{at(step - 1)[i], at(step)[i]}] = true
		}
	}
	c.used("the end", at(n-1))
	stillUsable(t, held, "all steps")
	for from := range maps.Keys(done) {
		if from[0] == from[1] {
			delete(done, from)
		}
	}
	distinct := map[choice]bool{}
	for _, choice := range choices {
		distinct[choice] = true
	}
	if want := len(distinct) * (len(distinct) - 1); len(done) != want {
		t.Errorf("%d transitions were made, want %d", len(done), want)
	}
	r, err := tcp.Stop()
	c.must(err)
	sentWithoutErrors(t, r)
	lost, err := udp.Stop()
	c.must(err)
	failed := lost.Requests.Errors - lost.Errors["unsent"]
	asked := lost.Requests.Answered + failed
	t.Logf("%d transitions: %d TCP requests, all answered; %d UDP requests, of which %d (%.2f %%) were not answered (%v), "+
		"because their datagrams were held back while a scheduler was exchanged",
		len(done), r.Requests.Answered, asked, failed, 100*float64(failed)/float64(asked), lost.Errors)
	if lost.Errors["refused"] != 0 {
		t.Errorf("UDP: %v", lost.Errors)
	}
	if 100*failed >= asked {
		t.Errorf("%d of %d UDP requests were not answered, want fewer than one in a hundred: "+
			"front ends are held for more than their own exchange", failed, asked)
	}
}

// TestSharesFollowWeights: of connections that are open, each endpoint has its share, within the interval that holds 99
// % of what chance gives.
func TestSharesFollowWeights(t *testing.T) {
	c := newCluster(t)
	client := c.pod(1, 50, "client")
	pods := []*topology.Host{c.tableBackend(1, 10, "one"), c.tableBackend(2, 10, "two"), c.tableBackend(2, 11, "three")}
	const connections = 240
	weights := []int{1, 2, 5} // of the Node (see below), the Service's list and an EndpointSlice of its own
	var choices []choice
	for _, name := range []string{"wrr", "wlc", "sed", "nq", "mh", "sh"} {
		flags := "none"
		if name == "mh" || name == "sh" {
			flags = "fallback+port"
		}
		choices = append(choices, choice{name, flags})
	}
	s := table(choices, annotated("ipvs-proxier.io/weight", "node=node2:2"))
	own := endpointSlices(s, pods[2])
	text := with(s, pods[:2]...)
	for _, slice := range own {
		slice.Name += "-own"
		slice.Annotations = map[string]string{"ipvs-proxier.io/weight": "5"}
		text += "---\n" + manifest(slice)
	}
	c.write("table.yaml", text)
	c.run()
	c.settled("the start", choices, pods...)
	for i, choice := range choices {
		to := at(netip.MustParseAddr(tableAddresses[0]), uint16(tablePort(i)))
		active := func() map[netip.Addr]int {
			v, err := c.kernel.VirtualServer("tcp", to)
			c.must(err)
			counts := map[netip.Addr]int{}
			for _, r := range v.RealServers {
				counts[r.Address.Addr()] = int(r.Active)
			}
			return counts
		}
		sample := func() (inside bool) {
			before := active()
			for _, conn := range c.hold(client, to, connections) {
				t.Cleanup(func() { conn.Close() })
			}
			after := active()
			inside = true
			for j, pod := range pods {
				p := float64(weights[j]) / 8
				want, off := connections*p, 2.576*math.Sqrt(connections*p*(1-p))
				got := after[pod.IPv4] - before[pod.IPv4]
				t.Logf("%s: %s of weight %d has %d of %d connections, expected %.0f ± %.1f",
					choice.scheduler, pod.Name, weights[j], got, connections, want, off)
				inside = inside && math.Abs(float64(got)-want) <= off
			}
			return inside
		}
		// Of what goes by chance one sample in a hundred is outside; two in a row are none.
		inside := sample()
		if !inside {
			inside = sample()
		}
		if !inside {
			t.Errorf("%s: outside of the interval, twice", choice.scheduler)
		}
	}
}

// uids gives the endpoints of slices identities, as the controllers of Kubernetes do.
func uids(s *v1.Service, generation string, pods ...*topology.Host) string {
	text := manifest(s)
	for _, slice := range endpointSlices(s, pods...) {
		for i, pod := range pods {
			uid := pod.Name
			if i == len(pods)-1 {
				uid += generation
			}
			slice.Endpoints[i].TargetRef = &v1.ObjectReference{
				Kind: "Pod", Namespace: s.Namespace, Name: pod.Name, UID: types.UID(uid),
			}
		}
		text += "---\n" + manifest(slice)
	}
	return text
}

// TestSlowStart: a new endpoint's weight grows to its own. A restart of the proxier does not start what is finished
// again; another pod with the same address starts anew.
func TestSlowStart(t *testing.T) {
	c := newCluster(t)
	one, two := c.backend(1, 10, "one"), c.backend(2, 10, "two")
	s := web(scheduled("wlc"), annotated("ipvs-proxier.io/slow-start", "6s"))
	c.write("web.yaml", uids(s, "-1", one))
	c.run()
	weight := func(pod *topology.Host) int {
		v, err := c.kernel.VirtualServer("tcp", web4)
		c.must(err)
		for _, r := range v.RealServers {
			if r.Address.Addr() == pod.IPv4 {
				return r.Weight
			}
		}
		return -1
	}
	full := weight(one)
	if full < 10 {
		t.Fatalf("the only endpoint at the first start has weight %d, want its own at once, in steps that can be divided", full)
	}
	grown := func() (seen []int) {
		t.Helper()
		c.await(func() error {
			if now := weight(two); now >= 0 && (seen == nil || now != seen[len(seen)-1]) {
				seen = append(seen, now)
			}
			if len(seen) == 0 || seen[len(seen)-1] != full {
				return fmt.Errorf("the new endpoint's weights were %v, want %d at last", seen, full)
			}
			return nil
		})
		return seen
	}
	c.write("web.yaml", uids(s, "-1", one, two))
	first := grown()
	if len(first) < 4 || !slices.IsSorted(first) || first[0] > full/3 {
		t.Errorf("weights %v, want several that grow", first)
	}
	c.proxier.Kill()
	c.again()
	if now := weight(two); now != full {
		t.Errorf("after a restart the weight is %d, want %d", now, full)
	}
	c.write("web.yaml", uids(s, "-2", one, two))
	c.await(func() error {
		if weight(two) == full {
			return errors.New("another pod has the address, and its weight is the old one's")
		}
		return nil
	})
	if again := grown(); !slices.IsSorted(again) {
		t.Errorf("weights %v, want them to grow", again)
	}
	if now := weight(one); now != full {
		t.Errorf("the endpoint that was there all the time has weight %d, want %d", now, full)
	}
}

// TestMaxConnections: an endpoint gets no more connections than its ceiling, and new ones again when enough of them
// have ended.
func TestMaxConnections(t *testing.T) {
	c := newCluster(t)
	client := c.pod(1, 50, "client")
	one, two := c.backend(1, 10, "one"), c.backend(2, 10, "two")
	c.write("web.yaml", with(web(annotated("ipvs-proxier.io/max-connections", "8/4")), one, two))
	c.run()
	held := c.hold(client, web4, 16)
	v, err := c.kernel.VirtualServer("tcp", web4)
	c.must(err)
	for _, r := range v.RealServers {
		if r.Active != 8 {
			t.Errorf("%s has %d connections of 16, want its ceiling of 8", r.Address, r.Active)
		}
	}
	if conn, err := harness.Dial(client, "tcp", web4); err == nil {
		conn.Close()
		t.Error("a connection above all ceilings was let in")
	}
	stillUsable(t, held, "the ceiling was reached")
	for _, conn := range held[:12] {
		c.must(conn.(*net.TCPConn).SetLinger(0)) // a reset ends the entry after 10 s
		conn.Close()
	}
	c.must(harness.Await(40*time.Second, func() error {
		conn, err := harness.Dial(client, "tcp", web4)
		if err == nil {
			conn.Close()
		}
		return err
	}))
	// Without the annotation there is none.
	c.write("web.yaml", with(web(), one, two))
	c.await(func() error {
		for range 20 {
			conn, err := harness.Dial(client, "tcp", web4)
			if err != nil {
				return err
			}
			defer conn.Close()
		}
		return nil
	})
}

// TestOnePacket: every datagram of one client is scheduled by itself; without the annotation a flow keeps its endpoint.
// What the endpoint answers to one comes from the endpoint's own address, as the documentation says.
func TestOnePacket(t *testing.T) {
	c := newCluster(t)
	client := c.pod(1, 50, "client")
	one, two := c.backend(1, 10, "one"), c.backend(2, 10, "two")
	// answerers returns from where n datagrams of one socket are answered.
	answerers := func(n int) map[string]int {
		t.Helper()
		var socket net.PacketConn
		c.must(client.Do(func() (err error) { socket, err = net.ListenPacket("udp4", ":0"); return err }))
		defer socket.Close()
		from := map[string]int{}
		for range n {
			_, err := socket.WriteTo([]byte("\n"), net.UDPAddrFromAddrPort(web4))
			c.must(err)
			c.must(socket.SetReadDeadline(time.Now().Add(5 * time.Second)))
			_, addr, err := socket.ReadFrom(make([]byte, 2000))
			c.must(err)
			from[addr.String()]++
		}
		return from
	}
	c.write("web.yaml", with(web(), one, two))
	c.run()
	if got, want := answerers(20), map[string]int{web4.String(): 20}; !maps.Equal(got, want) {
		t.Errorf("without the annotation answers come from %v, want %v", got, want)
	}
	c.write("web.yaml", with(web(annotated("ipvs-proxier.io/one-packet", "true")), one, two))
	c.await(func() error {
		v, err := c.kernel.VirtualServer("udp", web4)
		if err == nil && v.Flags&4 == 0 {
			err = fmt.Errorf("flags %#x", v.Flags)
		}
		return err
	})
	want := map[string]int{at(one.IPv4, 8080).String(): 10, at(two.IPv4, 8080).String(): 10}
	if got := answerers(20); !maps.Equal(got, want) {
		t.Errorf("with the annotation answers come from %v, want %v", got, want)
	}
}

// TestExposeAndIgnore: a Service serves the addresses that it names, and none when it is to be ignored.
func TestExposeAndIgnore(t *testing.T) {
	c := newCluster(t)
	client, backend := c.pod(1, 50, "client"), c.backend(1, 10, "one")
	atNode := at(c.Node1.IPv4, webNodePort)
	here := func(to netip.AddrPort, want bool) {
		t.Helper()
		c.await(func() error {
			v, err := c.kernel.VirtualServer("tcp", to)
			if err == nil && (v != nil) != want {
				err = fmt.Errorf("%s is %s, want it served: %t", to, v.Text(), want)
			}
			return err
		})
	}
	c.write("web.yaml", with(web(nodePort, annotated("ipvs-proxier.io/expose", "Node-Port")), backend))
	c.run()
	here(atNode, true)
	here(web4, false)
	c.ask(client, "tcp", atNode)
	c.write("web.yaml", with(web(nodePort, annotated("ipvs-proxier.io/ignore", "true")), backend))
	here(atNode, false)
	here(web4, false)
	c.write("web.yaml", with(web(nodePort), backend))
	here(atNode, true)
	here(web4, true)
	c.ask(client, "tcp", web4)
}
