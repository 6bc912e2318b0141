package topology

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
)

// The networks of every topology.
const (
	PodCIDRs     = "10.244.0.0/16,fd00:10:244::/48"
	ServiceCIDRs = "10.96.0.0/16,fd00:10:96::/112"
	// ExternalCIDRs are routed to node 1: load balancers' addresses and external IPs.
	ExternalCIDRs = "203.0.113.0/24,fd00:203::/64"
)

// Topology is the network. Close forgets it; the kernel takes it away when no process lives in it any more.
type Topology struct {
	Node1, Node2 *Host
	// Outside is the nodes' default gateway, Denied another host on the LAN.
	Outside, Denied *Host

	lan   *Host
	hosts []*Host
}

// New builds LAN, nodes and the hosts outside.
func New() (*Topology, error) {
	t := &Topology{}
	if err := t.build(); err != nil {
		t.Close()
		return nil, fmt.Errorf("build the network: %w", err)
	}
	return t, nil
}

func (t *Topology) build() error {
	var err error
	if t.lan, err = t.host("lan"); err != nil {
		return err
	}
	if err := t.lan.addBridge("lan"); err != nil {
		return err
	}
	for _, member := range []struct {
		host   **Host
		name   string
		number int
	}{{&t.Node1, "node1", 1}, {&t.Node2, "node2", 2}, {&t.Outside, "outside", 0x99}, {&t.Denied, "denied", 0x98}} {
		if *member.host, err = t.host(member.name); err != nil {
			return err
		}
		if err := t.joinLAN(*member.host, member.number); err != nil {
			return err
		}
	}
	for _, node := range []*Host{t.Node1, t.Node2} {
		if err := makeNode(node); err != nil {
			return err
		}
	}
	return t.addRoutes()
}

func (t *Topology) host(name string) (*Host, error) {
	h, err := newHost(name)
	if err == nil {
		t.hosts = append(t.hosts, h)
	}
	return h, err
}

// joinLAN gives the host the link eth0 on the LAN.
func (t *Topology) joinLAN(h *Host, number int) error {
	h.IPv4 = netip.MustParseAddr(fmt.Sprintf("192.168.50.%x", number))
	h.IPv6 = netip.MustParseAddr(fmt.Sprintf("fd00:50::%x", number))
	port, err := connect(h, t.lan)
	if err != nil {
		return err
	}
	return errors.Join(t.lan.bridge(port, "lan"), h.AddAddress("eth0", netip.PrefixFrom(h.IPv4, 24)),
		h.AddAddress("eth0", netip.PrefixFrom(h.IPv6, 64)))
}

// makeNode lets the node forward.
func makeNode(node *Host) error {
	for _, name := range []string{"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"} {
		if err := node.Sysctl(name, "1"); err != nil {
			return err
		}
	}
	// Messages of unreachability are rationed by default; then a refusal looks like a timeout by chance.
	for _, name := range []string{"net/ipv4/icmp_ratelimit", "net/ipv6/icmp/ratelimit"} {
		if err := node.Sysctl(name, "0"); err != nil {
			return err
		}
	}
	return nil
}

func (t *Topology) addRoutes() error {
	prefix := netip.MustParsePrefix
	for _, r := range []struct {
		host        *Host
		destination string
		gateway     netip.Addr
	}{
		{t.Node1, "10.244.2.0/24", t.Node2.IPv4}, {t.Node1, "fd00:10:244:2::/64", t.Node2.IPv6},
		{t.Node2, "10.244.1.0/24", t.Node1.IPv4}, {t.Node2, "fd00:10:244:1::/64", t.Node1.IPv6},
		{t.Node1, "0.0.0.0/0", t.Outside.IPv4}, {t.Node1, "::/0", t.Outside.IPv6},
		{t.Node2, "0.0.0.0/0", t.Outside.IPv4}, {t.Node2, "::/0", t.Outside.IPv6},
		{t.Outside, "10.96.0.0/16", t.Node1.IPv4}, {t.Outside, "fd00:10:96::/112", t.Node1.IPv6},
	} {
		if err := r.host.route(prefix(r.destination), r.gateway); err != nil {
			return err
		}
	}
	for _, h := range []*Host{t.Outside, t.Denied, t.Node2} {
		for _, external := range strings.Split(ExternalCIDRs, ",") {
			gateway := t.Node1.IPv4
			if prefix(external).Addr().Is6() {
				gateway = t.Node1.IPv6
			}
			if err := h.route(prefix(external), gateway); err != nil {
				return err
			}
		}
	}
	return nil
}

// AddPod puts a pod on node 1 or 2; its addresses end in number, which is 2 to 99.
func (t *Topology) AddPod(node, number int, name string) (*Host, error) {
	if node < 1 || node > 2 {
		return nil, fmt.Errorf("pod %s: node %d is not 1 or 2", name, node)
	}
	on := t.Node1
	if node == 2 {
		on = t.Node2
	}
	return t.AddPodOn(on, node, number, name)
}

// AddPodOn puts a pod on a node that AddNode made with that number; its addresses end in number, which is 2 to 99.
// Other hosts have no route to it.
func (t *Topology) AddPodOn(on *Host, node, number int, name string) (*Host, error) {
	if number < 2 || number > 99 {
		return nil, fmt.Errorf("pod %s: number %d is not 2 to 99", name, number)
	}
	pod, err := t.host(name)
	if err != nil {
		return nil, err
	}
	pod.Node = on.Name
	pod.IPv4, pod.IPv6 = podAddresses(node, number)
	gateway4, gateway6 := podAddresses(node, 1)
	return pod, t.hang(pod, on, gateway4, gateway6, 0)
}

// AddBehind puts a host behind one that is no node, which forwards for it; its addresses are 192.168.70.number and
// fd00:70::number. What the router sends to it has to fit into mtu; the host itself does not know.
func (t *Topology) AddBehind(router *Host, number, mtu int, name string) (*Host, error) {
	h, err := t.host(name)
	if err != nil {
		return nil, err
	}
	h.IPv4 = netip.MustParseAddr(fmt.Sprintf("192.168.70.%d", number))
	h.IPv6 = netip.MustParseAddr(fmt.Sprintf("fd00:70::%d", number))
	return h, errors.Join(makeNode(router), t.hang(h, router, netip.MustParseAddr("192.168.70.1"),
		netip.MustParseAddr("fd00:70::1"), mtu))
}

// hang gives the host a link of its own to its gateway, whose route to the host is of that MTU; 0 is the link's.
func (t *Topology) hang(h, on *Host, gateway4, gateway6 netip.Addr, mtu int) error {
	port, err := connect(h, on)
	if err != nil {
		return err
	}
	for _, family := range []struct {
		host, gateway netip.Addr
		all           string
	}{{h.IPv4, gateway4, "0.0.0.0/0"}, {h.IPv6, gateway6, "::/0"}} {
		if err := errors.Join(
			on.AddAddress(port, single(family.gateway)), on.routeLink(single(family.host), port, family.gateway, mtu),
			h.AddAddress("eth0", single(family.host)), h.routeLink(single(family.gateway), "eth0", netip.Addr{}, 0),
			h.route(netip.MustParsePrefix(family.all), family.gateway),
		); err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
	}
	return nil
}

func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// podAddresses are written alike in both families: pod 12 of node 1 is 10.244.1.12 and fd00:10:244:1::12.
func podAddresses(node, number int) (netip.Addr, netip.Addr) {
	return netip.MustParseAddr(fmt.Sprintf("10.244.%d.%d", node, number)),
		netip.MustParseAddr(fmt.Sprintf("fd00:10:244:%d::%d", node, number))
}

// AddNode puts another node on the LAN, whose addresses end in number, 3 to 97. It routes by the host outside and has
// no pods.
func (t *Topology) AddNode(number int, name string) (*Host, error) {
	if number < 3 || number > 97 {
		return nil, fmt.Errorf("node %s: number %d is not 3 to 97", name, number)
	}
	h, err := t.host(name)
	if err != nil {
		return nil, err
	}
	return h, errors.Join(t.joinLAN(h, digits(number)), makeNode(h), h.route(netip.MustParsePrefix("0.0.0.0/0"),
		t.Outside.IPv4), h.route(netip.MustParsePrefix("::/0"), t.Outside.IPv6))
}

// digits is the number whose hexadecimal digits are the decimal ones of n, as joinLAN wants it: addresses of both
// families end alike.
func digits(n int) int { return n/10<<4 | n%10 }

// Remove forgets one host. The kernel takes it away when no process lives in it any more.
func (t *Topology) Remove(h *Host) {
	t.hosts = slices.DeleteFunc(t.hosts, func(x *Host) bool { return x == h })
	h.close()
}

// Close forgets the network.
func (t *Topology) Close() {
	for _, h := range t.hosts {
		h.close()
	}
	t.hosts = nil
}

// connect makes a link between the two hosts: eth0 on h, and the one whose name is returned on the other. Both are up
// and usable in both families.
func connect(h, to *Host) (port string, err error) {
	to.veths++
	port = fmt.Sprintf("veth%d", to.veths)
	veth := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: port},
		PeerName:      "eth0",
		PeerNamespace: netlink.NsFd(h.namespace.Fd()),
	}
	if err := to.handle.LinkAdd(veth); err != nil {
		return "", fmt.Errorf("connect %s to %s: %w", h.Name, to.Name, err)
	}
	return port, errors.Join(to.up(port), h.up("eth0"), to.awaitUsable(port), h.awaitUsable("eth0"))
}
