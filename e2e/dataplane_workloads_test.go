//go:build e2e

package e2e

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
	"github.com/ipvs-proxier/ipvs-proxier/e2e/sidebyside"
	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// workload is a scenario and what a turn of it does on a node: how many went through in a second, and how many failed.
type workload struct {
	*sidebyside.Scenario
	run func(n *dataNode) (rate float64, errors int64)
}

// path is from where to where a workload goes, for the node of a variant.
type path struct {
	name, what string
	bystander  bool
	from       func(*dataNode) *topology.Host
	// connections and datagrams are the targets; to is the host that datagrams reach.
	connections, datagrams func(*dataNode) netip.AddrPort
	to                     func(*dataNode) *topology.Host
}

func (d *dataPlane) paths() []path {
	endpoint := func(*dataNode) *topology.Host { return d.endpoint }
	outside := func(*dataNode) *topology.Host { return d.c.Outside }
	itself := func(n *dataNode) *topology.Host { return n.Host }
	client := func(n *dataNode) *topology.Host { return n.client }
	pod := func(n *dataNode) *topology.Host { return n.pod }
	always := func(a netip.Addr, port uint16) func(*dataNode) netip.AddrPort {
		return func(*dataNode) netip.AddrPort { return at(a, port) }
	}
	of := func(h func(*dataNode) *topology.Host, port uint16) func(*dataNode) netip.AddrPort {
		return func(n *dataNode) netip.AddrPort { return at(h(n).IPv4, port) }
	}
	return []path{
		{"node to node", "Another host asks a listener of the node, which is no endpoint.", true, outside, of(itself, plainPort), of(itself, floodPort), itself},
		{"pod to pod", "A pod asks another pod of the node, which is no endpoint: the node forwards.", true, client, of(pod, servePort), of(pod, floodPort), pod},
		{"an endpoint asked straight", "A pod asks an endpoint of Services at its own address: the node forwards.", true,
			client,
			of(endpoint, servePort), of(endpoint, floodPort), endpoint},
		{"an endpoint on the host network asked from its node",
			"The node asks itself at its address, where an endpoint of a Service listens.", true, itself,
			of(itself, ownPort), nil, nil},
		{sidebyside.Unmasqueraded, "The endpoint sees the pod's address.", false, client, always(servingIP, 80), always(floodIP, 80), endpoint},
		{"the node asks a cluster IP", "Masqueraded.", false, itself, always(servingIP, 80), always(floodIP, 80), endpoint},
		{"outside asks a node port", "Masqueraded.", false, outside, of(itself, 30080), of(itself, 30082), endpoint},
	}
}

func (d *dataPlane) workloads() (all []*workload) {
	for _, p := range d.paths() {
		all = append(all, &workload{&sidebyside.Scenario{
			Name: p.name + ", connections", What: p.what, Bystander: p.bystander,
		}, func(n *dataNode) (float64, int64) {
			r := d.c.load(p.from(n), "--mode", "crr", "--closed", "--concurrency", "8", "--warmup", "200ms", "--duration",
				fmt.Sprint(d.result.Seconds, "s"), "tcp://"+p.connections(n).String())
			return r.Rate.Achieved, r.Requests.Errors
		}})
		if p.datagrams == nil {
			continue
		}
		all = append(all, &workload{&sidebyside.Scenario{
			Name: p.name + ", datagrams", What: p.what, Bystander: p.bystander, Datagrams: true,
		}, func(n *dataNode) (float64, int64) {
			rate, err := harness.Flood(p.from(n), p.datagrams(n), p.to(n), time.Duration(d.result.Seconds*float64(time.Second)))
			d.c.must(err)
			return rate, 0
		}})
	}
	return all
}

// longRun is a load that lasts, on a node.
type longRun struct {
	name, what string
	from       func(*dataNode) *topology.Host
	args       func(*dataNode) []string
}

func (d *dataPlane) longRuns() []longRun {
	itself := func(n *dataNode) *topology.Host { return n.Host }
	var sources string
	for i := range 50 {
		if i > 0 {
			sources += ","
		}
		sources += outsideClient(i).String()
	}
	all := []longRun{
		{sidebyside.OneClient, "The node asks a cluster IP, four connections at once, one endpoint that closes first.",
			itself, func(*dataNode) []string {
				return []string{"--mode", "crr", "--closed", "--concurrency", "4", "tcp://" + at(closingIP, 80).String()}
			}},
		{sidebyside.FiftyClients, "Fifty addresses ask a node port, fifty connections at once, one endpoint that closes first.",
			func(*dataNode) *topology.Host { return d.c.Outside }, func(n *dataNode) []string {
				return []string{"--mode", "crr", "--closed", "--concurrency", "50", "--source", sources, "tcp://" +
					at(n.IPv4, 30081).String()}
			}},
		{sidebyside.UDPTimeouts,
			"The node asks a cluster IP, four datagrams under way at once, each from a socket of its own.", itself, func(*dataNode) []string {
				return []string{"--mode", "udp-rr", "--closed", "--concurrency", "4", "--timeout", "1s", "udp://" +
					at(servingIP, 80).String()}
			}},
		{sidebyside.FiftyUDP, "Fifty addresses ask a node port, fifty datagrams under way at once, each from a socket of its own.",
			func(*dataNode) *topology.Host { return d.c.Outside }, func(n *dataNode) []string {
				return []string{
					"--mode", "udp-rr", "--closed", "--concurrency", "50", "--timeout", "1s", "--source", sources,
					"udp://" + at(n.IPv4, 30080).String(),
				}
			}},
	}
	if !d.sctp {
		return all
	}
	return append(all,
		longRun{sidebyside.OneSCTP, "The node asks a cluster IP, four associations at once, one endpoint.", itself,
			func(*dataNode) []string {
				return []string{"--mode", "crr", "--closed", "--concurrency", "4", "sctp://" + at(servingIP, 80).String()}
			}},
		longRun{sidebyside.FiftySCTP, "Fifty addresses ask a node port, fifty associations at once, one endpoint.",
			func(*dataNode) *topology.Host { return d.c.Outside }, func(n *dataNode) []string {
				return []string{"--mode", "crr", "--closed", "--concurrency", "50", "--source", sources, "sctp://" +
					at(n.IPv4, 30080).String()}
			}})
}

// stall carries the run out and reads the counters every ten seconds.
func (d *dataPlane) stall(l longRun, n *dataNode, seconds int) sidebyside.LongRun {
	d.c.t.Helper()
	from := l.from(n)
	read := func() [3]harness.Counters {
		var all [3]harness.Counters
		for i, h := range []*topology.Host{from, d.endpoint, n.Host} {
			c, err := harness.ReadCounters(h)
			d.c.must(err)
			all[i] = c
		}
		return all
	}
	before := read()
	load := d.c.startLoad(from, append([]string{"--duration", fmt.Sprint(seconds, "s")}, l.args(n)...)...)
	began := time.Now()
	at := []([3]harness.Counters){before}
	for s := 10; s < seconds; s += 10 {
		time.Sleep(time.Until(began.Add(time.Duration(s) * time.Second)))
		at = append(at, read())
	}
	report, err := load.Wait()
	d.c.must(err)
	at = append(at, read())
	result := sidebyside.LongRun{
		Errors: report.Errors, EachSecond: sidebyside.EachSecond(report.Series.Answered, report.Series.Step, seconds),
	}
	for i := 1; i < len(at); i++ {
		step := sidebyside.Step{Seconds: float64(min(10, seconds-(i-1)*10))}
		for s := (i - 1) * 10; s < min(i*10, len(result.EachSecond)); s++ {
			step.Answered += int64(result.EachSecond[s])
		}
		step.SYNsAgain = at[i][0].Since(at[i-1][0])["TcpExtTCPSynRetrans"]
		ends := at[i][1].Since(at[i-1][1])
		step.Resets = ends["TcpOutRsts"]
		if v, counted := ends["TcpExtPAWSTimewait"]; counted {
			step.PAWS = &v
		}
		result.Steps = append(result.Steps, step)
	}
	grown := at[len(at)-1][2].Since(before[2])
	_, result.Counted = grown["Conntrackinsert_failed"]
	result.InsertFailed, result.Drop = grown["Conntrackinsert_failed"], grown["Conntrackdrop"]
	d.c.t.Logf("%s, %s: %.0f, %+v", l.name, n.variant, result.EachSecond, result.Steps)
	return result
}
