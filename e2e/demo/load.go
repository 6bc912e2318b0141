package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

func addr(text string) netip.AddrPort { return netip.MustParseAddrPort(text) }

// load sends requests, shows which endpoints answered them, and fails when one was not answered.
func (d *demo) load(from *topology.Host, title, target string, args ...string) (*harness.LoadReport, error) {
	r, err := d.programs.Load(from, append(append([]string{"--mode", "crr", "--timeout", lossTimeout.String()}, args...),
		"tcp://"+target)...)
	if err != nil {
		return nil, err
	}
	fmt.Printf("  %s: %d requests from %s to %s, %d errors; latency p50 %s, p90 %s, p99 %s\n",
		title, r.Requests.Planned, from.Name, target,
		r.Requests.Errors, milliseconds(r.Latency.P50), milliseconds(r.Latency.P90), milliseconds(r.Latency.P99))
	bars(r)
	if r.Requests.Errors+r.Requests.Unfinished > 0 {
		return r, fmt.Errorf("%s: %d requests failed: %v", title, r.Requests.Errors+r.Requests.Unfinished, r.Errors)
	}
	return r, nil
}

// lossTimeout is after how long what is not answered is lost. A machine that other work keeps busy is late, which is no
// fault of the proxier's.
const lossTimeout = 30 * time.Second

func milliseconds(us float64) string { return fmt.Sprintf("%.1f ms", us/1000) }

func bars(r *harness.LoadReport) {
	for _, b := range backends {
		n := r.Answered(b.name)
		share := float64(n) / float64(max(r.Requests.Answered, 1))
		fmt.Printf("    %-6s %-40s %4d  %3.0f %%\n", b.name, strings.Repeat("#", int(share*40+0.5)), n, share*100)
	}
	fmt.Println()
}

// spread shows each scheduler with endpoints that are alike.
func (d *demo) spread() error {
	say("Three schedulers", "The same endpoints behind three Services. Round-robin takes turns; least-connection takes who has the fewest open connections;\n"+
		"source-hash keeps each client with one endpoint.")
	r, err := d.load(d.clients[0], "web-rr", "10.96.0.11:80", "--rate", "100", "--count", "300")
	if err != nil {
		return err
	}
	for _, b := range backends {
		if n := r.Answered(b.name); n != 100 {
			return fmt.Errorf("round-robin gave %s %d of 300 requests, not 100", b.name, n)
		}
	}
	if _, err := d.load(d.clients[0], "web-lc", "10.96.0.12:80", "--rate", "100", "--count", "300"); err != nil {
		return err
	}
	for _, client := range d.clients {
		r, err := d.load(client, "web-sh", "10.96.0.13:80", "--rate", "100", "--count", "50")
		if err != nil {
			return err
		}
		if len(r.Endpoints) != 1 {
			return fmt.Errorf("source-hash sent %s to %d endpoints, not to 1", client.Name, len(r.Endpoints))
		}
	}
	return nil
}

// slow shows what schedulers do when one endpoint is slow.
func (d *demo) slow() error {
	say("A slow endpoint", "web-3 takes 300 ms for each answer. Round-robin goes on sending it every third request, so a third of all users wait.\n"+
		"Least-connection sees that its connections stay open, and spares it.")
	rr, err := d.load(d.clients[0], "slow-rr", "10.96.0.21:80", "--rate", "60", "--count", "300")
	if err != nil {
		return err
	}
	lc, err := d.load(d.clients[0], "slow-lc", "10.96.0.22:80", "--rate", "60", "--count", "300")
	if err != nil {
		return err
	}
	if n := rr.Answered("web-3"); n != 100 {
		return fmt.Errorf("the slow endpoint answered %d of 300 by round-robin; want 100", n)
	}
	// On a machine on which all endpoints are slow there is none to be spared.
	if n := lc.Answered("web-3"); n > 60 {
		fmt.Printf("Least-connection gave web-3 %d of 300 here, where less than 60 are usual: this machine is busy, and the other endpoints are slow, too.\n", n)
	}
	return nil
}

// outside shows a node port and IPv6.
func (d *demo) outside() error {
	say("From outside, and by IPv6", "The Service shop has a node port, 30080, and cluster IPs of both families.")
	for _, way := range []struct {
		from  *topology.Host
		title string
		to    netip.AddrPort
	}{
		{d.net.Outside, "shop, node port", netip.AddrPortFrom(d.net.Node1.IPv4, 30080)},
		{d.net.Outside, "shop, node port, IPv6", netip.AddrPortFrom(d.net.Node1.IPv6, 30080)},
		{d.clients[0], "shop, cluster IP, IPv6", addr("[fd00:10:96::31]:80")},
	} {
		if _, err := d.load(way.from, way.title, way.to.String(), "--rate", "100", "--count", "90"); err != nil {
			return err
		}
	}
	return nil
}

// change changes an annotation while requests come in.
func (d *demo) change() error {
	say("A live change", "slow-rr gets the annotation ipvs-proxier.io/scheduler: lc while 60 requests a second come in. No connection is lost.")
	kernel, err := harness.OpenKernel(d.net.Node1)
	if err != nil {
		return err
	}
	defer kernel.Close()
	load, err := d.programs.StartLoad(d.clients[0], "--mode", "crr", "--rate", "60", "--duration", "4s", "--timeout",
		lossTimeout.String(), "tcp://10.96.0.21:80")
	if err != nil {
		return err
	}
	path := filepath.Join(d.directory, "slow.yaml")
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	changed := strings.Replace(string(content), "scheduler: rr}", "scheduler: lc}", 1)
	if err := os.WriteFile(path+".new", []byte(changed), 0o644); err != nil {
		return err
	}
	began := time.Now()
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	err = harness.Await(10*time.Second, func() error {
		v, err := kernel.VirtualServer("tcp", addr("10.96.0.21:80"))
		if err == nil && (v == nil || v.Scheduler != "lc") {
			err = fmt.Errorf("the kernel still has %s", v.Text())
		}
		return err
	})
	if err != nil {
		return err
	}
	fmt.Printf("  %.0f ms after the file was changed the kernel schedules by lc.\n",
		float64(time.Since(began).Microseconds())/1000)
	during, err := load.Wait()
	if err != nil {
		return err
	}
	fmt.Printf("  During the change: %d requests, %d errors.\n\n", during.Requests.Planned, during.Requests.Errors)
	if during.Requests.Errors+during.Requests.Unfinished > 0 {
		return fmt.Errorf("%d requests failed during the change: %v",
			during.Requests.Errors+during.Requests.Unfinished, during.Errors)
	}
	after, err := d.load(d.clients[0], "slow-rr, now lc", "10.96.0.21:80", "--rate", "60", "--count", "300")
	if err == nil && after.Answered("web-3") > 60 {
		err = fmt.Errorf("after the change the slow endpoint still answers %d of 300", after.Answered("web-3"))
	}
	return err
}
