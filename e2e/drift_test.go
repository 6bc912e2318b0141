//go:build e2e

package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moby/ipvs"
	"github.com/vishvananda/netlink"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// drifts is how many objects TestDriftOfRandomKinds harms, unless IPVSP_DRIFTS says it.
const drifts = 300

// TestDriftOfRandomKinds takes away, alters and adds objects of every kind in the kernel, up to 100 at once, among 40
// Services: after two audits all is as it was before, and what is somebody else's has not been touched. TEST_SEED
// repeats it.
func TestDriftOfRandomKinds(t *testing.T) {
	want := drifts
	if text := os.Getenv("IPVSP_DRIFTS"); text != "" {
		asked, err := strconv.Atoi(text)
		if err != nil || asked < 1 {
			t.Fatalf("IPVSP_DRIFTS is %q; want a number of 1 or more", text)
		}
		want = asked
	}
	c := newCluster(t)
	d := &drift{
		cluster: c, r: drawn(seed(t), 3), harmed: map[string]int{},
		ours: func(a string) bool { return !strings.HasPrefix(a, "10.96.7.") && a != "fd00:10:96::77" },
	}
	_, err := c.Node1.Run("sh", "-ec", strings.Join(foreignObjects, "\n"))
	c.must(err)
	c.write("many.yaml", manyOfAllKinds(40)...)
	c.run("--audit-period", "1s", "--contest-after", "0")
	state := func() []string {
		others, err := c.Node1.Run("ip", "-o", "addr", "show", "dev", "other")
		c.must(err)
		lines := append(c.sorted(), strings.Split(changing.ReplaceAllString(others, ""), "\n")...)
		for name := range driftingSysctls {
			lines = append(lines, name+" is "+c.sysctl(name))
		}
		slices.Sort(lines)
		return lines
	}
	c.awaitRest()
	before := state()
	batches, total := 0, 0
	for began := time.Now(); total < want; batches++ {
		n := d.batch(min(1+d.r.IntN(100), want-total))
		total += n
		c.awaitAudits(2)
		if err := harness.Await(60*time.Second, func() error {
			now := state()
			if wrong, missing := without(now, before), without(before, now); len(wrong)+len(missing) > 0 {
				return fmt.Errorf("after batch %d, of %d objects: too much: %q; missing: %q", batches, n, wrong, missing)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if batches%20 == 19 {
			t.Logf("%d objects in %d batches within %s", total, batches+1, time.Since(began).Round(time.Second))
		}
	}
	t.Logf("%d objects harmed in %d batches, all repaired: %s", total, batches, counts(d.harmed))
}

// awaitAudits waits until so many audits more have been done.
func (c *cluster) awaitAudits(n float64) {
	c.t.Helper()
	until := -1.0
	c.must(harness.Await(60*time.Second, func() error {
		done, err := c.proxier.Metric("ipvs_proxier_audits_total")
		if err == nil && until < 0 {
			until = done + n
		}
		if err == nil && done < until {
			err = fmt.Errorf("%v audits, want %v", done, until)
		}
		return err
	}))
}

// counts says how often what happened.
func counts(of map[string]int) string {
	var words []string
	for _, name := range slices.Sorted(maps.Keys(of)) {
		words = append(words, fmt.Sprintf("%s %d", name, of[name]))
	}
	return strings.Join(words, ", ")
}

// manyOfAllKinds are n Services of both families, TCP and UDP, with three endpoints that nobody asks; every fourth has
// node ports.
func manyOfAllKinds(n int) (texts []string) {
	for i := range n {
		s := service(fmt.Sprintf("of-many-%d",
			i), []string{fmt.Sprintf("10.96.20.%d", 1+i), fmt.Sprintf("fd00:10:96::20%02x", i)})
		if i%4 == 0 {
			nodePort(s)
			for p := range s.Spec.Ports {
				s.Spec.Ports[p].NodePort = int32(30500 + i)
			}
		}
		var pods []*topology.Host
		for e := range 3 {
			pods = append(pods,
				&topology.Host{Node: fmt.Sprintf("node%d", 1+e),
					IPv4: netip.AddrFrom4([4]byte{10, 244, byte(1 + e), byte(100 + i)}),
					IPv6: netip.MustParseAddr(fmt.Sprintf("fd00:10:244:%d::%d", 1+e, 100+i))})
		}
		texts = append(texts, with(s, pods...))
	}
	return texts
}

// drift does what somebody else, or a bug, may do to the proxier's objects in the kernel.
type drift struct {
	*cluster
	r *rand.Rand
	// ours says of an address whether objects that begin with it may be harmed; what begins with none may where all is.
	ours func(address string) bool
	// sparing leaves alone what all Services share: chains, link, sysctls, sets that do not begin with a service
	// address.
	sparing bool
	// harmed counts.
	harmed map[string]int
}

// driftingSysctls are those that are taken away, with the wrong value.
var driftingSysctls = map[string]string{
	"net/ipv4/vs/conntrack": "0", "net/ipv4/vs/expire_nodest_conn": "0", "net/ipv4/ip_forward": "0",
}

// batch harms n objects, each of a random kind, and returns how many of them were there to be harmed.
func (d *drift) batch(n int) (done int) {
	servers, reals := d.virtualServers()
	entries := d.entries()
	addresses, err := d.addresses()
	d.must(err)
	var ofSets []string
	rules, link := 0, false
	kinds := []struct {
		name   string
		weight int
		do     func() bool
	}{
		{"virtual server deleted", 3, func() bool { return anyOf(d, servers, d.kernel.Handle().DelService) }},
		{"virtual server altered", 3, func() bool {
			return anyOf(d, servers, func(s *ipvs.Service) error {
				altered := *s
				altered.SchedName = "wlc"
				return d.kernel.Handle().UpdateService(&altered)
			})
		}},
		{"virtual server added", 1, func() bool {
			return anyOf(d, servers, func(s *ipvs.Service) error {
				if !onLink(s.Address) {
					return errStill("an address of the node, on which another port is somebody else's")
				}
				added := *s
				added.Port = uint16(20000 + d.r.IntN(9999))
				return d.kernel.Handle().NewService(&added)
			})
		}},
		{"real server deleted", 4, func() bool {
			return anyOf(d, reals, func(r real) error { return d.kernel.Handle().DelDestination(r.of, r.Destination) })
		}},
		{"real server altered", 4, func() bool {
			return anyOf(d, reals, func(r real) error {
				altered := *r.Destination
				altered.Weight = 2 + d.r.IntN(9)
				return d.kernel.Handle().UpdateDestination(r.of, &altered)
			})
		}},
		{"real server added", 2, func() bool {
			return anyOf(d, reals, func(r real) error {
				added := *r.Destination
				added.Port = uint16(20000 + d.r.IntN(9999))
				return d.kernel.Handle().NewDestination(r.of, &added)
			})
		}},
		{"address deleted", 3, func() bool { return anyOf(d, addresses, d.deleteAddress) }},
		{"address added", 1, func() bool {
			return d.Node1.AddAddress("kube-ipvs0",
				netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 96, 3, byte(150 + d.r.IntN(100))}), 32)) == nil
		}},
		{"set entry deleted", 6, func() bool {
			return anyOf(d, entries, func(line string) error {
				ofSets = append(ofSets, strings.Replace(line, "add ", "del ", 1))
				return nil
			})
		}},
		{"set entry added", 2, func() bool {
			return anyOf(d, entries, func(line string) error {
				other := anyPort.ReplaceAllString(line, fmt.Sprintf("$1:%d", 20000+d.r.IntN(9999)))
				if other == line {
					return errStill("the same")
				}
				ofSets = append(ofSets, other)
				return nil
			})
		}},
		{"rule", 1, func() bool {
			if rules++; d.sparing || rules > 2 {
				return false
			}
			return d.harmRules()
		}},
		{"sysctl", 1, func() bool {
			name := slices.Sorted(maps.Keys(driftingSysctls))[d.r.IntN(len(driftingSysctls))]
			return !d.sparing && d.Node1.Sysctl(name, driftingSysctls[name]) == nil
		}},
		{"link deleted", 1, func() bool {
			if d.sparing || link || d.r.IntN(20) > 0 {
				return false
			}
			link = true
			_, err := d.Node1.Run("ip", "link", "del", "kube-ipvs0")
			return err == nil
		}},
	}
	sum := 0
	for _, k := range kinds {
		sum += k.weight
	}
	for try := 0; done < n && try < 10*n; try++ {
		pick := d.r.IntN(sum)
		for _, k := range kinds {
			if pick -= k.weight; pick < 0 {
				if k.do() {
					done++
					d.harmed[k.name]++
				}
				break
			}
		}
	}
	if len(ofSets) > 0 {
		cmd := exec.Command("ipset", "-exist", "restore")
		cmd.Stdin = strings.NewReader(strings.Join(ofSets, "\n") + "\n")
		d.must(d.Node1.Do(cmd.Run))
	}
	return done
}

var anyPort = regexp.MustCompile(`(tcp|udp):\d+`)

// anyOf does something with a random one of all, and says whether that could be done: another harm may have been
// faster.
func anyOf[T any](d *drift, all []T, do func(T) error) bool {
	return len(all) > 0 && do(all[d.r.IntN(len(all))]) == nil
}

// onLink reports whether the address is a Service's, which stands on our link: every virtual server there is ours.
func onLink(a net.IP) bool {
	return slices.ContainsFunc(strings.Split(topology.ServiceCIDRs, ","), func(text string) bool {
		addr, _ := netip.AddrFromSlice(a)
		return netip.MustParsePrefix(text).Contains(addr.Unmap())
	})
}

// real is a real server with its virtual server.
type real struct {
	of *ipvs.Service
	*ipvs.Destination
}

func (d *drift) virtualServers() (servers []*ipvs.Service, reals []real) {
	all, err := d.kernel.Handle().GetServices()
	d.must(err)
	for _, s := range all {
		if s.FWMark != 0 || !d.ours(s.Address.String()) {
			continue
		}
		servers = append(servers, s)
		of, err := d.kernel.Handle().GetDestinations(s)
		if err != nil {
			continue // gone meanwhile
		}
		for _, r := range of {
			reals = append(reals, real{s, r})
		}
	}
	return servers, reals
}

// addresses are those on the link that are ours; none when the link is away.
func (d *drift) addresses() (ours []netlink.Addr, err error) {
	link, err := d.Node1.Handle().LinkByName("kube-ipvs0")
	if err != nil {
		return nil, nil
	}
	all, err := d.Node1.Handle().AddrList(link, netlink.FAMILY_ALL)
	for _, a := range all {
		if !a.IP.IsLinkLocalUnicast() && d.ours(a.IP.String()) {
			ours = append(ours, a)
		}
	}
	return ours, err
}

func (d *drift) deleteAddress(a netlink.Addr) error {
	ones, _ := a.Mask.Size()
	addr, _ := netip.AddrFromSlice(net.IP(a.IP))
	return d.Node1.DeleteAddress("kube-ipvs0", netip.PrefixFrom(addr.Unmap(), ones))
}

// entries are those of our sets that may be harmed.
func (d *drift) entries() (found []string) {
	text, err := d.Node1.Run("ipset", "save")
	d.must(err)
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 3 || words[0] != "add" || !strings.HasPrefix(words[1], "IPVSP-") {
			continue
		}
		address, _, _ := strings.Cut(words[2], ",")
		if _, err := netip.ParseAddr(address); err != nil && d.sparing || !d.ours(address) {
			continue
		}
		found = append(found, strings.TrimSpace(line))
	}
	return found
}

// harmRules deletes a rule of ours, empties a chain, or puts a rule in the way.
func (d *drift) harmRules() bool {
	family := []string{"ip", "ip6"}[d.r.IntN(2)]
	table := []string{"nat", "filter", "mangle"}[d.r.IntN(3)]
	text, err := d.Node1.Run(family+"tables-save", "-t", table)
	d.must(err)
	var rules, chains []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "-A ") && strings.Contains(line, "IPVSP-") {
			rules = append(rules, strings.TrimPrefix(line, "-A "))
		}
		if strings.HasPrefix(line, ":IPVSP-") {
			chains = append(chains, strings.Fields(line[1:])[0])
		}
	}
	if len(rules) == 0 || len(chains) == 0 {
		return false
	}
	chain := chains[d.r.IntN(len(chains))]
	harm := []string{"-D " + rules[d.r.IntN(len(rules))], "-F " + chain, "-I " + chain + " -j RETURN"}[d.r.IntN(3)]
	cmd := exec.Command(family+"tables-restore", "--noflush")
	cmd.Stdin = strings.NewReader("*" + table + "\n" + harm + "\nCOMMIT\n")
	return d.Node1.Do(cmd.Run) == nil
}
