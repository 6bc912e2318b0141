//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// chaos does to a node, at random, what goes wrong in clusters, one thing after the other.
type chaos struct {
	*cluster
	r         *rand.Rand
	one, two  *topology.Host
	count     map[string]int
	neighbour netip.AddrPort // a virtual server of somebody else
}

// TestChaos does harm at random for as long as IPVSP_CHAOS says, beside Services under load in TCP and UDP, in both families, and held
// connections: the proxier is killed and ended, what it has in the kernel for other Services is taken away and altered,
// tenants write what is refused or far too large, the lock of iptables is held, a second proxier is started. No request to the Services
// under load fails, no held connection breaks, nobody else's virtual server changes, and in the end the kernel holds what a start on a
// clean node makes. TEST_SEED repeats what is done, in its order.
func TestChaos(t *testing.T) {
	text := os.Getenv("IPVSP_CHAOS")
	if text == "" {
		t.Skip("run by make chaos")
	}
	duration, err := time.ParseDuration(text)
	if err != nil || duration < 10*time.Second {
		t.Fatalf("IPVSP_CHAOS is %q; want a duration of 10s or more", text)
	}
	c := &chaos{cluster: newCluster(t), count: map[string]int{}, neighbour: netip.MustParseAddrPort("10.96.7.7:80")}
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("TEST_SEED"); text != "" {
		seed, err = strconv.ParseUint(text, 10, 64)
		c.must(err)
	}
	t.Logf("to repeat: TEST_SEED=%d", seed)
	c.r = rand.New(rand.NewPCG(seed, 4))
	c.one, c.two = c.backend(1, 10, "one"), c.backend(2, 10, "two")
	client := c.pod(1, 50, "client")
	_, err = c.Node1.Run("ipvsadm", "-A", "-t", c.neighbour.String(), "-s", "wrr")
	c.must(err)
	c.write("web.yaml", with(web(nodePort), c.one, c.two))
	c.run("--audit-period", "1s")

	node4, node6 := at(c.Node1.IPv4, webNodePort), at(c.Node1.IPv6, webNodePort)
	held := slices.Concat(c.hold(client, web4, 10), c.hold(c.Outside, web6, 5), c.hold(c.Node2, node4, 5), c.hold(c.Node2, node6, 5))
	var loads []*harness.Load
	for _, l := range []struct {
		from           *topology.Host
		mode, rate, at string
	}{
		{client, "crr", "20", "tcp://" + web4.String()}, {c.Outside, "crr", "10", "tcp://" + web6.String()}, {c.Denied, "crr", "10", "tcp://" + node4.String()},
		{client, "udp-rr", "20", "udp://" + web6.String()}, {c.Denied, "udp-rr", "10", "udp://" + node6.String()},
	} {
		loads = append(loads, c.startLoad(l.from, "--mode", l.mode, "--rate", l.rate, "--duration", duration.String(), l.at))
	}

	for end := time.Now().Add(duration - 5*time.Second); time.Now().Before(end); {
		time.Sleep(time.Duration(c.r.IntN(1500)) * time.Millisecond) // the moment of the harm, not a wait
		c.harm()
	}
	for _, file := range []string{"others.yaml", "hostile.yaml", "broken.yaml"} {
		os.Remove(filepath.Join(c.manifests, file))
	}
	c.must(c.proxier.AwaitReady())
	c.write("zz-last.yaml", manifest(service("last", []string{"10.96.3.98"})))
	c.awaitVirtualServer("tcp", netip.MustParseAddrPort("10.96.3.98:80"), "rr")
	stillUsable(t, held, "all that harm")
	for _, l := range loads {
		report, err := l.Wait()
		c.must(err)
		withoutErrors(t, report)
		t.Logf("%d requests, errors %v", report.Requests.Answered, report.Errors)
	}
	for _, name := range slices.Sorted(maps.Keys(c.count)) {
		t.Logf("%s: %d times", name, c.count[name])
	}
	for _, conn := range held {
		conn.Close()
	}
	if text, err := c.Node1.Run("ipvsadm", "-Sn"); err != nil || !strings.Contains(text, "-A -t "+c.neighbour.String()+" -s wrr\n") {
		t.Errorf("somebody else's virtual server is %q, %v", text, err)
	}
	c.sameAsFresh(c.args...)
}

// harm does one thing.
func (c *chaos) harm() {
	kinds := []struct {
		name string
		do   func()
	}{
		{"killed", func() { c.proxier.Kill(); c.start(c.args...) }},
		{"ended", c.end},
		{"others changed", func() { c.write("others.yaml", others(c.r, c.one, c.two)...) }},
		{"others changed", func() { c.write("others.yaml", others(c.r, c.one, c.two)...) }},
		{"drift", c.drift}, {"drift", c.drift}, {"drift", c.drift},
		{"hostile tenant", func() { c.write("hostile.yaml", c.hostile()...) }},
		{"file that cannot be read", func() { c.write("broken.yaml", "kind: Service\nmetadata: {name: [") }},
		{"lock of iptables held", c.holdLock},
		{"second proxier", c.second},
	}
	kind := kinds[c.r.IntN(len(kinds))]
	kind.do()
	c.count[kind.name]++
}

// end ends the proxier as the kubelet does, perhaps before it has begun to listen to signals, and starts it again.
func (c *chaos) end() {
	if err := c.proxier.Stop(); err != nil && !strings.Contains(err.Error(), "signal: terminated") {
		c.t.Fatal(err)
	}
	c.start(c.args...)
}

// drift takes away or alters something of the Services that are not under load.
func (c *chaos) drift() {
	saved, err := c.Node1.Run("ipvsadm", "-Sn")
	c.must(err)
	var services, servers [][]string
	for line := range strings.Lines(saved) {
		if !strings.Contains(line, "10.96.3.") && !strings.Contains(line, "fd00:10:96::3") {
			continue
		}
		switch words := strings.Fields(line); words[0] {
		case "-A":
			services = append(services, words)
		case "-a":
			servers = append(servers, words)
		}
	}
	do := func(name string, args ...string) {
		// What is to be changed may have gone meanwhile.
		if text, err := c.Node1.Run(name, args...); err != nil {
			c.t.Logf("%s %v: %v %s", name, args, err, text)
		}
	}
	any := func(of [][]string) []string { return of[c.r.IntN(len(of))] }
	junk := fmt.Sprintf("10.96.3.%d", 150+c.r.IntN(50))
	switch kind := c.r.IntN(8); {
	case kind == 0 && len(services) > 0:
		do("ipvsadm", "-D", any(services)[1], any(services)[2])
	case kind == 1 && len(services) > 0:
		of := any(services)
		do("ipvsadm", "-E", of[1], of[2], "-s", "wlc")
	case kind == 2 && len(servers) > 0:
		of := any(servers)
		do("ipvsadm", "-d", of[1], of[2], "-r", of[4])
	case kind == 3 && len(servers) > 0:
		of := any(servers)
		do("ipvsadm", "-e", of[1], of[2], "-r", of[4], "-m", "-w", strconv.Itoa(c.r.IntN(9)))
	case kind == 4:
		do("ip", "addr", "add", junk+"/32", "dev", "kube-ipvs0")
	case kind == 5:
		do("ip", "addr", "del", "10.96.3.99/32", "dev", "kube-ipvs0")
	case kind == 6:
		do("ipset", "-exist", "add", "IPVSP-FRONT-END", junk+",tcp:80")
	default:
		do("ipset", "-exist", "del", "IPVSP-FRONT-END", "10.96.3.99,tcp:80")
	}
}

// hostile are Services that the kernel refuses, that ask for too much, or that say what nobody understands.
func (c *chaos) hostile() []string {
	refused := with(service("refused", []string{"10.96.4.1", "fd00:10:96::401"}), &topology.Host{Node: "elsewhere", IPv4: netip.MustParseAddr("192.168.50.255"), IPv6: c.one.IPv6})
	var names []string
	for i := range 2000 {
		names = append(names, fmt.Sprintf("p%d=rr%d", i, c.r.IntN(1000)))
	}
	wordy := manifest(service("wordy", []string{"10.96.4.2", "fd00:10:96::402"}, scheduled(strings.Join(names, ","))))
	large := service("large", []string{"10.96.4.3", "fd00:10:96::403"})
	for i := range 300 {
		port := large.Spec.Ports[0]
		port.Name, port.Port = fmt.Sprintf("p%d", i), int32(1000+i)
		large.Spec.Ports = append(large.Spec.Ports, port)
	}
	taker := service("taker", []string{"10.96.4.4", "fd00:10:96::404"}, loadBalancer(1, 0))
	taker.Status.LoadBalancer.Ingress[0].IP = web4.Addr().String()
	return [][]string{{refused}, {wordy}, {manifest(large)}, {manifest(taker)}, {refused, wordy, manifest(taker)}}[c.r.IntN(5)]
}

// holdLock holds the lock of iptables-legacy for a moment, at which the proxier may have to write rules.
func (c *chaos) holdLock() {
	lock, err := os.OpenFile("/run/xtables.lock", os.O_CREATE|os.O_RDWR, 0o600)
	c.must(err)
	c.must(unix.Flock(int(lock.Fd()), unix.LOCK_EX))
	time.AfterFunc(3*time.Second, func() { lock.Close() })
}

// second starts another proxier, which has to end with a word.
func (c *chaos) second() {
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, programs.Path("ipvs-proxier"), append([]string{"run"}, c.args...)...)
	out, err := os.CreateTemp(c.t.TempDir(), "second")
	c.must(err)
	cmd.Stdout, cmd.Stderr = out, out
	c.must(c.Node1.Start(cmd))
	err = cmd.Wait()
	text, readErr := os.ReadFile(out.Name())
	c.must(readErr)
	if err == nil || !strings.Contains(string(text), "ipvs-proxier") {
		c.t.Errorf("a second proxier ended with %v: %s", err, text)
	}
}
