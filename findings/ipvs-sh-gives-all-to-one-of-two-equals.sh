#!/usr/bin/env bash
# Finding: the scheduler sh sends all connections to one of two real servers that have the same weight, if that weight
# is 256 or more.
#
# Seen on Linux 6.1.176 (User-Mode Linux of Debian 12) with ipvsadm 1.31. sh has a table of 256 buckets. It gives a
# real server as many buckets in a row as its weight says, then goes on to the next one, and stops when the table is
# full (net/netfilter/ipvs/ip_vs_sh.c, ip_vs_sh_reassign). Weights of 1 and 1 share the connections, 255 and 255 leave
# one bucket to the second one, 256 and 256 leave it nothing. Nothing is reported. Weights of IPVS go up to 65535, and
# only their ratio counts for wrr, wlc and others.
#
# Needs root on Debian 12 (amd64) with iproute2 and kmod; nothing is installed: packages are unpacked in a temporary
# folder.
set -euo pipefail
if [ $$ = 1 ]; then # the first process of the guest
	export PATH=/usr/sbin:/usr/bin:/sbin:/bin
	mount -t proc proc /proc && mount -t sysfs sysfs /sys && mount -t tmpfs tmpfs /run
	folder=$(sed 's/.*folder=\([^ ]*\).*/\1/' /proc/cmdline)
	for name in ip_vs_sh dummy; do modprobe -d "$folder" "$name" || :; done
	export LD_LIBRARY_PATH=$folder/usr/lib/x86_64-linux-gnu
	ipvsadm=$folder/sbin/ipvsadm
	ip link set lo up
	ip link add vip type dummy && ip addr add 10.96.0.1/32 dev vip && ip addr add 10.96.0.2/32 dev vip && ip link set vip up
	ip link add pods type dummy && ip addr add 10.1.0.1/24 dev pods && ip link set pods up
	uname -r
	$ipvsadm --version
	share() { # weight, address, the two real servers
		$ipvsadm -A -u "$2:80" -s sh -b sh-port # the client's port counts, as one client has many
		for real in "$3" "$4"; do # nobody listens there, and each flow counts as an inactive connection
			ip neigh add "$real" lladdr 02:00:00:00:00:02 dev pods
			$ipvsadm -a -u "$2:80" -r "$real:80" -m -w "$1"
		done
		for _ in {1..200}; do
			exec 3<>"/dev/udp/$2/80"
			printf . >&3
			exec 3>&-
		done
		echo "weight $1:" $($ipvsadm -Ln -u "$2:80" | awk '$1 == "->" && $2 ~ /^10/ {print $6}' | sort -n)
	}
	share 1 10.96.0.1 10.1.0.2 10.1.0.3
	share 256 10.96.0.2 10.1.0.4 10.1.0.5
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
read -r less more <<<"$(sed -n 's/^weight 1: //p' <<<"$seen")"
read -r none all <<<"$(sed -n 's/^weight 256: //p' <<<"$seen")"
[ "${less:-0}" -gt 50 ] && [ "${none:-1}" = 0 ] && [ "${all:-0}" -gt 150 ] || { echo "CHANGED"; exit 1; }
echo "as described: $less and $more connections at weights of 1, $none and $all at weights of 256"
