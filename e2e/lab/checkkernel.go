package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

func tryScheduler(name string) error {
	service := "192.0.2.1:80"
	if err := calls("ipvsadm -A -t " + service + " -s " + name); err != nil {
		return err
	}
	return errors.Join(
		calls("ipvsadm -a -t "+service+" -r 198.51.100.1:8080 -m -w 1"),
		shows("TCP  "+service+" "+name, "ipvsadm -Ln"),
		calls("ipvsadm -D -t "+service),
	)
}

// tryVSSysctls writes those that the proxier sets. A namespace is a fresh one, so what is written reaches nobody else.
func tryVSSysctls() error {
	for _, name := range []string{"conntrack", "expire_nodest_conn", "expire_quiescent_template", "conn_reuse_mode"} {
		path := "/proc/sys/net/ipv4/vs/" + name
		for _, value := range []string{"0", "1"} {
			if err := os.WriteFile(path, []byte(value), 0); err != nil {
				return err
			}
			got, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if strings.TrimSpace(string(got)) != value {
				return fmt.Errorf("%s is %q after writing %s", path, got, value)
			}
		}
	}
	return nil
}

func tryDummy() error {
	if err := calls("ip link add name check0 type dummy"); err != nil {
		return err
	}
	return errors.Join(shows("dummy", "ip -d link show dev check0"), calls("ip link del check0"))
}

// tryDownAddresses: Service addresses are on a link that is never up, so nothing is answered to ARP for them.
func tryDownAddresses() error {
	if err := calls(
		"ip link add name check1 type dummy", "ip addr add 192.0.2.9/32 dev check1",
		"ip addr add 2001:db8::9/128 dev check1 nodad",
	); err != nil {
		return err
	}
	return errors.Join(
		shows("192.0.2.9/32", "ip -4 addr show dev check1"),
		shows("2001:db8::9/128", "ip -6 addr show dev check1"),
		shows("local 192.0.2.9", "ip route show table local"),
		shows("state DOWN", "ip -o link show dev check1"),
		calls("ip link del check1"),
	)
}

// setTry is a type of ipset with an entry for it.
type setTry struct{ setType, entry string }

func setsOf(family string) []setTry {
	a, b, net := "192.0.2.1", "192.0.2.2", "192.0.2.0/25"
	if family == "inet6" {
		a, b, net = "2001:db8::1", "2001:db8::2", "2001:db8::/65"
	}
	return []setTry{
		{"hash:ip", a},
		{"hash:ip,port", a + ",tcp:80"},
		{"hash:ip,port,ip", a + ",udp:53," + b},
		{"hash:net", net},
	}
}

func trySet(s setTry, family string) error {
	if err := calls("ipset create check "+s.setType+" family "+family, "ipset add check "+s.entry); err != nil {
		return err
	}
	return errors.Join(calls("ipset test check "+s.entry), calls("ipset destroy check"))
}

// tryTable makes a chain with a rule that refers to a set, as the proxier does, and takes it all away.
func tryTable(program, table string) error {
	family := map[string]string{"iptables": "inet", "ip6tables": "inet6"}[program]
	target := map[string]string{"nat": "MASQUERADE", "filter": "ACCEPT"}[table]
	t := program + " -w -t " + table
	if err := calls("ipset create check hash:ip,port,ip family " + family); err != nil {
		return err
	}
	err := calls(t+" -N CHECK", t+" -A CHECK -m set --match-set check dst,dst,src -m comment --comment check -j "+target)
	if err == nil {
		err = errors.Join(shows("--match-set check dst,dst,src", t+" -S CHECK"), calls(t+" -F CHECK", t+" -X CHECK"))
	}
	return errors.Join(err, calls("ipset destroy check"))
}
