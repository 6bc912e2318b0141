// Command demo shows what ipvs-proxier does, on the kernel that it runs on: Services written as plain manifests,
// endpoints in network namespaces, the real programs, real requests. It checks what it claims, and fails when a claim
// does not hold. `make demo` builds it and runs it in the lab.
package main

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

//go:embed manifests
var manifests embed.FS

func main() {
	began := time.Now()
	d := &demo{programs: harness.Programs(os.Getenv("IPVSP_BIN"))}
	err := d.run()
	d.close()
	if err != nil {
		fmt.Fprintln(os.Stderr, "\ndemo:", err)
		os.Exit(1)
	}
	fmt.Printf("\nAll that was claimed held. %.0f seconds.\n", time.Since(began).Seconds())
}

type demo struct {
	programs  harness.Programs
	net       *topology.Topology
	clients   []*topology.Host
	servers   []*harness.Process
	proxier   *harness.Proxier
	directory string
}

func (d *demo) run() error {
	for _, step := range []func() error{d.build, d.start, d.spread, d.slow, d.outside, d.change, d.status, d.cleanup} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// say begins a section.
func say(title, text string) { fmt.Printf("\n== %s\n%s\n\n", title, text) }

// backends are the endpoints of all Services: name, node, number.
var backends = []struct {
	name         string
	node, number int
}{{"web-1", 1, 11}, {"web-2", 1, 12}, {"web-3", 2, 13}}

// slowness is how long web-3 takes for an answer on port 8081.
const slowness = 300 * time.Millisecond

func (d *demo) build() error {
	say("A cluster of two nodes", "Three endpoints in network namespaces, web-1 and web-2 on node1, web-3 on node2; four client pods on node1; a host outside.\n"+
		"The endpoints answer on port 8080. On port 8081 they do too, but there web-3 takes 300 ms.")
	var err error
	if d.net, err = topology.New(); err != nil {
		return err
	}
	for _, b := range backends {
		pod, err := d.net.AddPod(b.node, b.number, b.name)
		if err != nil {
			return err
		}
		delay := "0s"
		if b.name == "web-3" {
			delay = slowness.String()
		}
		for _, args := range [][]string{{"--listen", "tcp://[::]:8080"}, {"--listen", "tcp://[::]:8081", "--delay", delay}} {
			server, err := d.programs.Serve(pod, b.name, args...)
			if err != nil {
				return err
			}
			d.servers = append(d.servers, server)
		}
	}
	for i := range 4 {
		client, err := d.net.AddPod(1, 50+i, fmt.Sprintf("client-%d", i+1))
		if err != nil {
			return err
		}
		d.clients = append(d.clients, client)
	}
	return nil
}

func (d *demo) start() error {
	var err error
	if d.directory, err = os.MkdirTemp("", "demo-manifests-"); err != nil {
		return err
	}
	files, err := fs.ReadDir(manifests, "manifests")
	if err != nil {
		return err
	}
	var names []string
	for _, f := range files {
		content, err := manifests.ReadFile("manifests/" + f.Name())
		if err == nil {
			err = os.WriteFile(filepath.Join(d.directory, f.Name()), content, 0o644)
		}
		if err != nil {
			return err
		}
		names = append(names, "e2e/demo/manifests/"+f.Name())
	}
	say("ipvs-proxier on node1", "$ ipvs-proxier run --node-name node1 --cluster-cidr "+topology.PodCIDRs+
		" --manifests DIR\nDIR holds copies of "+strings.Join(names, ", ")+".")
	if d.proxier, err = d.programs.StartProxier(d.net.Node1, "--manifests", d.directory); err != nil {
		return err
	}
	if err := d.proxier.AwaitReady(); err != nil {
		return err
	}
	fmt.Print("The kernel's virtual servers, as ipvsadm shows them:\n\n")
	text, err := d.net.Node1.Run("ipvsadm", "-Ln")
	if err != nil {
		return err
	}
	fmt.Println(indent(text))
	return nil
}

func (d *demo) status() error {
	for _, c := range []struct {
		args        []string
		title, what string
		words       []string
	}{
		{nil, "ipvs-proxier status", "What is programmed, and what the kernel counts:", []string{
			"10.96.0.11:80", "[fd00:10:96::31]:80", "all is right",
		}},
		{
			[]string{"default/shop"}, "ipvs-proxier status default/shop",
			"One Service: its ways in, its endpoints, its settings, and who chose them:",
			[]string{"annotation ipvs-proxier.io/scheduler", "ENDPOINT"},
		},
	} {
		say(c.title, c.what)
		text, err := d.proxier.StatusText(c.args...)
		if err != nil {
			return err
		}
		fmt.Print(indent(text))
		for _, word := range c.words {
			if !strings.Contains(text, word) {
				return fmt.Errorf("%s does not show %q", c.title, word)
			}
		}
	}
	return nil
}

func (d *demo) cleanup() error {
	say("ipvs-proxier cleanup", "After its end the dataplane still serves; cleanup takes it away.")
	if err := d.proxier.Stop(); err != nil {
		return err
	}
	if _, err := harness.Ask(d.clients[0], "tcp", addr("10.96.0.11:80")); err != nil {
		return fmt.Errorf("after the end of the proxier: %w", err)
	}
	text, err := d.programs.Cleanup(d.net.Node1)
	if err != nil {
		return err
	}
	fmt.Print(indent(text))
	left, err := d.net.Node1.Run("ipvsadm", "-Sn")
	if err == nil && left != "" {
		err = errors.New("cleanup left:\n" + left)
	}
	return err
}

func (d *demo) close() {
	if d.proxier != nil {
		d.proxier.Kill()
	}
	for _, s := range d.servers {
		s.Kill()
	}
	if d.net != nil {
		d.net.Close()
	}
	if d.directory != "" {
		os.RemoveAll(d.directory)
	}
}

func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n  ") + "\n"
}
