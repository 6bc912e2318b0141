//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
	"github.com/ipvs-proxier/ipvs-proxier/e2e/picture"
	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
	"github.com/ipvs-proxier/ipvs-proxier/internal/marks"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// pictures measures for docs/schedulers.md.
type pictures struct {
	*cluster
	client *topology.Host
	// sources are the client's addresses, as the load generator takes them.
	sources string
	clients int
	pods    []*topology.Host
	out     string
	// vip is the Service's address; services counts them.
	vip      netip.AddrPort
	services byte
	page     strings.Builder
}

// TestPictures measures what docs/schedulers.md shows, with the load generator's scenario files in docs/schedulers. It
// asserts nothing but that the runs could be made; `make pictures` runs it and names in IPVSP_PICTURES the directory
// for the results.
func TestPictures(t *testing.T) {
	out := os.Getenv("IPVSP_PICTURES")
	if out == "" {
		t.Skip("run by make pictures")
	}
	p := &pictures{cluster: newCluster(t), out: out, clients: 60}
	p.client = p.pod(1, 50, "client")
	var sources []string
	for i := range p.clients {
		a := netip.AddrFrom4([4]byte{10, 244, 1, byte(130 + i)})
		p.must(p.client.AddAddress("eth0", netip.PrefixFrom(a, 32)))
		sources = append(sources, a.String())
	}
	if text, err := p.Node1.Run("ip", "route", "add", "10.244.1.128/25", "via", p.client.IPv4.String()); err != nil {
		t.Fatal(err, text)
	}
	p.sources = strings.Join(sources, ",")
	for i, name := range []string{"a", "b", "c", "d", "e"} {
		p.pods = append(p.pods, p.backend(1+i%2, 10+i, name, "--delay", "5ms"))
	}
	slow := p.backend(2, 20, "slow", "--delay", "150ms")
	p.run()
	kernel, err := p.Node1.Run("uname", "-sr")
	p.must(err)
	fmt.Fprintf(&p.page, "Measured on %s, by `make pictures`.\n\n", strings.TrimSpace(kernel))
	p.slowEndpoint(slow)
	p.newEndpoint()
	p.whoMoves()
	p.manyNodes()
	p.must(os.WriteFile(filepath.Join(out, "schedulers.md"), []byte(p.page.String()), 0o644))
}

// serving has another Service, which has an address that none had before: the kernel still counts the closed
// connections of the last one, and would count them for this one.
func (p *pictures) serving(choice string, change []func(*v1.Service), pods ...*topology.Host) {
	p.t.Helper()
	p.services++
	p.vip = at(netip.AddrFrom4([4]byte{10, 96, 1, p.services}), 80)
	p.change(choice, change, pods...)
}

// change writes the Service with these changes, and waits for it.
func (p *pictures) change(choice string, change []func(*v1.Service), pods ...*topology.Host) {
	p.t.Helper()
	name, flags, _ := strings.Cut(choice, " ")
	change = append([]func(*v1.Service){scheduled(name), annotated("ipvs-proxier.io/drain-timeout", "0s")}, change...)
	if flags != "" {
		change = append(change, annotated("ipvs-proxier.io/scheduler-flags", flags))
	}
	p.write("web.yaml", with(service("web", []string{p.vip.Addr().String()}, change...), pods...))
	p.await(func() error {
		v, err := p.kernel.VirtualServer("tcp", p.vip)
		if err != nil || v == nil || v.Scheduler != name || len(v.RealServers) != len(pods) {
			return fmt.Errorf("%v, %v: want %s with %d endpoints", v, err, name, len(pods))
		}
		return nil
	})
}

// scenarioReport is what is used of a run.
type scenarioReport struct {
	Latency   struct{ P50, P90, P99 float64 } `json:"latency_us"`
	Endpoints []struct {
		ID       string
		Answered int64
		Share    float64
	}
}

func (r *scenarioReport) share(id string) float64 {
	for _, e := range r.Endpoints {
		if e.ID == id {
			return e.Share
		}
	}
	return 0
}

// measure carries out a scenario file of docs/schedulers and keeps its report.
func (p *pictures) measure(from *topology.Host, name, run string, values ...string) *scenarioReport {
	p.t.Helper()
	args := []string{"scenario", "docs/schedulers/" + name + ".yaml", "--json"}
	for _, v := range append([]string{"TARGET=tcp://" + p.vip.String(), "SOURCES=" + p.sources}, values...) {
		args = append(args, "--set", `"`+v+`"`)
	}
	cmd := exec.Command(programs.Path("ipvs-load"), args...)
	var output, log strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &log
	p.must(from.Start(cmd))
	err := cmd.Wait()
	var result struct {
		Variants []struct{ Rounds []json.RawMessage }
	}
	if decode := json.Unmarshal([]byte(output.String()), &result); decode != nil || len(result.Variants) != 1 ||
		len(result.Variants[0].Rounds) != 1 {
		p.t.Fatalf("%s: %v, %v\n%s\n%s", name, err, decode, log.String(), output.String())
	}
	r := &scenarioReport{}
	p.must(json.Unmarshal(result.Variants[0].Rounds[0], r))
	p.must(os.WriteFile(p.report(name, run), []byte(output.String()), 0o644))
	return r
}

func (p *pictures) report(name, run string) string {
	return filepath.Join(p.out, name+"-"+strings.ReplaceAll(run, " ", "-")+".json")
}

func (p *pictures) draw(name, svg string) {
	p.must(os.WriteFile(filepath.Join(p.out, name+".svg"), []byte(svg), 0o644))
}

// section begins a section of the page with its picture and the scenario's command.
func (p *pictures) section(title, name, command, about string) {
	fmt.Fprintf(&p.page, "### %s\n\n%s\n\n    ipvs-load scenario docs/schedulers/%s.yaml %s\n\n![%s](schedulers/%s.svg)\n\n",
		title, marks.Wrap(about, ""), name, command, title, name)
}

// known returns those that this kernel has.
func (p *pictures) known(choices ...string) (known []string) {
	status, err := p.proxier.Status()
	p.must(err)
	for _, c := range choices {
		name, _, _ := strings.Cut(c, " ")
		if s, _ := scheduler.Lookup(name); slices.Contains(status.Schedulers, s.Kernel) {
			known = append(known, c)
		} else {
			p.t.Logf("NOT MEASURED: %s, which this kernel lacks", c)
		}
	}
	return known
}

func percent(share float64) string { return fmt.Sprintf("%.0f %%", 100*share) }

func (p *pictures) slowEndpoint(slow *topology.Host) {
	pods := append(slices.Clone(p.pods[:3]), slow)
	var bars []picture.Bar
	var table strings.Builder
	for _, choice := range p.known("rr", "wrr", "lc", "wlc", "sed", "nq", "twos", "sh", "mh", "sh fallback,port",
		"mh fallback,port") {
		p.serving(choice, nil, pods...)
		r := p.measure(p.client, "slow-endpoint", choice)
		share := r.share("slow")
		bars = append(bars, picture.Bar{Name: choice, Parts: []float64{share, 1 - share}, Value: percent(share) + " slow"})
		fmt.Fprintf(&table, "| %s | %s | %.0f ms | %.0f ms |\n",
			choice, percent(share), r.Latency.P50/1000, r.Latency.P90/1000)
	}
	p.section("One endpoint is slow", "slow-endpoint", "--set TARGET=tcp://10.96.0.10:80 --set SOURCES=...",
		fmt.Sprintf("Four endpoints: three answer after 5 ms, one after 150 ms. %d client addresses open 80 connections a second, at times that do not depend on the answers.", p.clients))
	p.draw("slow-endpoint", picture.Bars("Share of the connections that the slow one of four endpoints got",
		[]string{"slow endpoint", "the three others"}, 1, bars))
	fmt.Fprintf(&p.page, "| scheduler | to the slow endpoint | latency p50 | p90 |\n|---|---|---|---|\n%s\n", table.String())
}

func (p *pictures) newEndpoint() {
	const seconds = 14
	var lines []picture.Line
	for _, c := range []struct {
		name, choice string
		change       []func(*v1.Service)
	}{{"rr", "rr", nil}, {
		"lc", "lc", nil,
	}, {"wlc, slow-start 10s", "wlc", []func(*v1.Service){annotated("ipvs-proxier.io/slow-start", "10s")}},
		{"wrr, slow-start 10s", "wrr", []func(*v1.Service){annotated("ipvs-proxier.io/slow-start", "10s")}}} {
		p.serving(c.choice, c.change, p.pods[:3]...)
		for i := range 5 { // what an established Service has: some seconds of connections
			p.measure(p.client, "new-endpoint", fmt.Sprint(c.choice, " before ", i))
		}
		p.change(c.choice, c.change, p.pods[:4]...)
		line := picture.Line{Name: c.name}
		for i := range seconds {
			line.Values = append(line.Values, 100*p.measure(p.client, "new-endpoint", fmt.Sprint(c.choice, " ", i)).share("d"))
		}
		lines = append(lines, line)
	}
	p.section("An endpoint is new", "new-endpoint", "--set TARGET=tcp://10.96.0.10:80 --set SOURCES=...",
		"Three endpoints have served 80 connections a second for five seconds when a fourth one comes: its share of the new connections, second by second. "+
			"Least connection counts connections closed in the last two minutes (256 count as one open). So a new endpoint gets every short connection at first, "+
			"until it has had as many as the others. `slow-start` softens this; `wrr` does not have it.")
	p.draw("new-endpoint", picture.Lines("Share of the new connections that the new one of four endpoints got", " %",
		"seconds since it came", 100, lines))
	fmt.Fprint(&p.page, "| share of the new endpoint | first second | most | last second |\n|---|---|---|---|\n")
	for _, l := range lines {
		fmt.Fprintf(&p.page, "| %s | %.0f %% | %.0f %% | %.0f %% |\n",
			l.Name, l.Values[0], slices.Max(l.Values), l.Values[len(l.Values)-1])
	}
	fmt.Fprintln(&p.page)
}

func (p *pictures) whoMoves() {
	count := fmt.Sprint("COUNT=", 2*p.clients)
	var bars []picture.Bar
	for _, c := range []struct {
		name, choice string
		change       []func(*v1.Service)
	}{{
		"mh", "mh", nil,
	}, {"sh", "sh", nil}, {"rr, session affinity", "rr", []func(*v1.Service){affinity(600)}}, {"rr", "rr", nil}} {
		for _, step := range []struct {
			name  string
			after []*topology.Host
		}{{"one of 4 goes", p.pods[:3]}, {"a fifth comes", p.pods}} {
			p.serving(c.choice, c.change, p.pods[:4]...)
			p.measure(p.client, "who-moves", c.name+" "+step.name+" before", count)
			p.change(c.choice, c.change, step.after...)
			p.measure(p.client, "who-moves", c.name+" "+step.name+" after", count)
			clients := p.moved(p.report("who-moves", c.name+" "+step.name+" before"),
				p.report("who-moves", c.name+" "+step.name+" after"))
			bars = append(bars, picture.Bar{Name: c.name + ": " +
				step.name, Parts: []float64{clients.Share}, Value: fmt.Sprintf("%d of %d", clients.Moved, clients.Both)})
		}
	}
	p.section("Endpoints come and go", "who-moves", "--set TARGET=tcp://10.96.0.10:80 --set SOURCES=... "+"--set "+count,
		fmt.Sprintf("%d clients make two connections each, before and after one of four endpoints goes, or a fifth one comes. Counted are the clients that have another endpoint afterwards though theirs is still there. "+
			"When a fifth comes, a fifth of the clients has to move if the new one is to have its share.", p.clients))
	p.draw("who-moves", picture.Bars("Clients that changed their endpoint though it was still there", []string{"moved"},
		1, bars))
	for _, b := range bars {
		fmt.Fprintf(&p.page, "- %s: %s\n", b.Name, b.Value)
	}
	fmt.Fprintln(&p.page)
}

type movedClients struct {
	Both  int     `json:"in_both"`
	Moved int     `json:"moved"`
	Share float64 `json:"moved_share"`
}

// moved asks compare how many clients have another endpoint.
func (p *pictures) moved(before, after string) movedClients {
	p.t.Helper()
	text, err := exec.Command(programs.Path("ipvs-load"), "compare", "--json", before, after).Output()
	var c struct {
		Others []struct{ Clients movedClients }
	}
	if decode := json.Unmarshal(text, &c); decode != nil || len(c.Others) != 1 {
		p.t.Fatalf("compare: %v, %v\n%s", err, decode, text)
	}
	return c.Others[0].Clients
}

// asNode starts the proxier as the node of that name.
func (p *pictures) asNode(name string) {
	p.proxier.Kill()
	p.must(harness.Await(time.Minute, func() error {
		if !p.proxier.Ended() {
			return fmt.Errorf("it has not ended")
		}
		return nil
	}))
	if text, err := p.Node1.Run(programs.Path("ipvs-proxier"), "cleanup"); err != nil {
		p.t.Fatal(err, text)
	}
	p.run("--node-name", name)
	p.await(func() error {
		v, err := p.kernel.VirtualServer("tcp", p.vip)
		if err != nil || v == nil || len(v.RealServers) != len(p.pods) {
			return fmt.Errorf("%v, %v", v, err)
		}
		return nil
	})
}

func (p *pictures) manyNodes() {
	const nodes = 30
	p.serving("rr", nil, p.pods...)
	got := map[string]int64{}
	for i := range nodes {
		name := fmt.Sprint("node-", i)
		p.asNode(name)
		for _, e := range p.measure(p.client, "many-nodes", name).Endpoints {
			got[e.ID] += e.Answered
		}
	}
	var bars []picture.Bar
	most := int64(0)
	for _, pod := range p.pods {
		most = max(most, got[pod.Name])
	}
	for _, pod := range p.pods {
		bars = append(bars, picture.Bar{Name: "endpoint " +
			pod.Name, Parts: []float64{float64(got[pod.Name])}, Value: fmt.Sprint(got[pod.Name], " of ", 3*nodes)})
	}
	p.section("Many nodes with few connections each", "many-nodes", "--set TARGET=tcp://10.96.0.10:80",
		fmt.Sprintf("`rr` on %d nodes (the proxier is started with one node name after the other), three connections from each, to five endpoints. The mean is %d. "+
			"Were the order the same on all nodes, three endpoints would have %d each, and two none.", nodes, 3*nodes/len(p.pods), nodes))
	p.draw("many-nodes", picture.Bars("Connections of many nodes to each endpoint, under rr", []string{"connections"},
		float64(nodes), bars))
	fmt.Fprintf(&p.page, "The busiest has %.2f times the mean.\n\n", float64(most)*float64(len(p.pods))/float64(3*nodes))

	count := fmt.Sprint("COUNT=", 2*p.clients)
	fmt.Fprintf(&p.page, "Of the same %d clients, those that another node sends to another endpoint:\n\n", p.clients)
	for _, choice := range []string{"mh", "sh", "rr"} {
		p.serving(choice, nil, p.pods...)
		for _, node := range []string{"first", "second"} {
			p.asNode(node)
			p.measure(p.client, "who-moves", choice+" on the "+node+" node", count)
		}
		c := p.moved(p.report("who-moves", choice+" on the first node"), p.report("who-moves", choice+" on the second node"))
		fmt.Fprintf(&p.page, "- %s: %d of %d\n", choice, c.Moved, c.Both)
	}
}
