#!/usr/bin/env bash
# Finding: UDP datagrams above the path's MTU that the director itself sends to a virtual server hardly ever pass IPVS.
#
# Seen on Linux 6.1.176 (User-Mode Linux of Debian 12) with ipvsadm 1.31 and masquerading. IPVS drops a datagram of
# 2,000 bytes and tells the sender by ICMP. Every second send then fails with EMSGSIZE, and what is sent again is
# dropped again:
#   IPv4, address on a dummy link   none arrives, for ever: the kernel remembers no MTU for a local address of a link
#                                   other than lo (net/ipv4/route.c, __mkroute_output: such a route is not cached)
#   IPv4, local route on lo         the MTU is remembered, the kernel fragments, and what is sent arrives
#   IPv6, either                    none arrives. The MTU is remembered with the route. But IPv6 fragments its own
#                                   packets behind LOCAL_OUT, where IPVS stands, so IPVS sees the whole datagram each
#                                   time (net/netfilter/ipvs/ip_vs_xmit.c, __mtu_check_toobig_v6, looks at its length)
# In Kubernetes that is a client in the host's network that asks a Service by UDP (cilium#8185).
#
# Needs root on Debian 12 (amd64) with iproute2 and kmod; nothing is installed: packages are unpacked in a temporary
# folder.
set -euo pipefail
if [ $$ = 1 ]; then # the first process of the guest
	export PATH=/usr/sbin:/usr/bin:/sbin:/bin
	mount -t proc proc /proc && mount -t sysfs sysfs /sys && mount -t tmpfs tmpfs /run
	folder=$(sed 's/.*folder=\([^ ]*\).*/\1/' /proc/cmdline)
	for name in ipv6 ip_vs_rr dummy veth; do modprobe -d "$folder" "$name" || :; done
	export LD_LIBRARY_PATH=$folder/usr/lib/x86_64-linux-gnu
	ip link set lo up
	echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad
	unshare -n sleep 600 &
	until [ "$(readlink /proc/$!/ns/net)" != "$(readlink /proc/1/ns/net)" ]; do :; done
	there() { nsenter -t $! -n "$@"; }
	ip link add here type veth peer name there netns $!
	ip addr add 10.1.0.1/24 dev here && ip -6 addr add fd01::1/64 dev here nodad && ip link set here up
	there ip addr add 10.1.0.2/24 dev there && there ip -6 addr add fd01::2/64 dev there nodad && there ip link set there up
	ip link add vip type dummy && ip addr add 10.96.0.1/32 dev vip && ip -6 addr add fd96::1/128 dev vip nodad && ip link set vip up
	ipvsadm=$folder/sbin/ipvsadm
	$ipvsadm -A -u 10.96.0.1:80 -s rr && $ipvsadm -a -u 10.96.0.1:80 -r 10.1.0.2:80 -m
	$ipvsadm -A -u '[fd96::1]:80' -s rr && $ipvsadm -a -u '[fd96::1]:80' -r '[fd01::2]:80' -m
	ip route add local 10.96.0.2/32 dev lo src 10.1.0.1 && ip -6 route add local fd96::2/128 dev lo src fd01::1
	$ipvsadm -A -u 10.96.0.2:80 -s rr && $ipvsadm -a -u 10.96.0.2:80 -r 10.1.0.2:80 -m
	$ipvsadm -A -u '[fd96::2]:80' -s rr && $ipvsadm -a -u '[fd96::2]:80' -r '[fd01::2]:80' -m
	there ip route add default via 10.1.0.1 && there ip -6 route add default via fd01::1
	uname -r
	$ipvsadm --version
	for vip in 10.96.0.1 10.96.0.2 fd96::1 fd96::2; do
		# Nobody listens there: what arrives is counted as such.
		case $vip in
		10*) arrived() { there cat /proc/net/snmp | sed -n 's/^Udp: [0-9]* \([0-9]*\).*/\1/p'; } ;;
		*) arrived() { there cat /proc/net/snmp6 | sed -n 's/^Udp6NoPorts[^0-9]*//p'; } ;;
		esac
		exec 3<>"/dev/udp/$vip/80"
		printf . >&3 # finds the neighbour
		sleep 2
		before=$(arrived) refused=0
		for _ in 1 2 3 4 5 6 7 8 9 10; do
			dd if=/dev/zero bs=2000 count=1 >&3 2>/dev/null || refused=$((refused + 1))
			sleep 0.2
		done
		exec 3>&-
		echo "$vip: $refused refused, $(($(arrived) - before)) arrived"
	done
	poweroff -f -f >/dev/null 2>&1 || echo o >/proc/sysrq-trigger
	sleep 60
fi

folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
cd "$folder"
versions="user-mode-linux=6.1um4+b13 ipvsadm=1:1.31-1+b1 libnl-3-200=3.7.0-0.2+b1 libnl-genl-3-200=3.7.0-0.2+b1 libpopt0=1.19+dfsg-1"
apt-get download -q $versions >/dev/null || { echo "NOT TRIED: apt has no $versions; name here what it has, and look again"; exit 2; }
for package in *.deb; do dpkg-deb -x "$package" .; done
mkdir -p lib && ln -s ../usr/lib/uml/modules lib/modules
cp "$OLDPWD/${0#"$OLDPWD"/}" init 2>/dev/null || cp "$0" init
chmod 755 init .
seen=$(timeout 300 usr/bin/linux.uml mem=512M root=/dev/root rootfstype=hostfs rootflags=/ ro init="$folder/init" folder="$folder" \
	con=null con0=fd:0,fd:1 quiet loglevel=3 </dev/null 2>/dev/null | tr -d '\r')
echo "$seen"
arrived() { sed -n "s/^$1: .* \([0-9]*\) arrived/\1/p" <<<"$seen"; }
[ "$(arrived 10.96.0.1)$(arrived fd96::1)$(arrived fd96::2)" = 000 ] && [ "$(arrived 10.96.0.2)" -gt 0 ] || { echo "CHANGED"; exit 1; }
echo "as described"
