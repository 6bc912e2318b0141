#!/usr/bin/env bash
# Finding: /proc/net/ip_vs leaves out virtual servers when another network namespace has some.
#
# Seen on Linux 6.1.176 (User-Mode Linux of Debian 12) with ipvsadm 1.31. All namespaces have their virtual servers in
# one table. A reader gets a file of /proc in pieces. Within a piece the kernel counts the virtual servers of all
# namespaces, and shows its own. Where the next piece begins, it counts its own only (net/netfilter/ipvs/ip_vs_ctl.c,
# ip_vs_info_array and ip_vs_info_seq_next). So it skips as many of its own as it has met of others. A namespace that
# is alone sees all of its own, and netlink (ipvsadm -Ln) shows them all in any case.
#
# Needs root on Debian 12 (amd64) with iproute2 and kmod; nothing is installed: packages are unpacked in a temporary
# folder.
set -euo pipefail
if [ $$ = 1 ]; then # the first process of the guest
	export PATH=/usr/sbin:/usr/bin:/sbin:/bin
	mount -t proc proc /proc && mount -t sysfs sysfs /sys && mount -t tmpfs tmpfs /run
	folder=$(sed 's/.*folder=\([^ ]*\).*/\1/' /proc/cmdline)
	modprobe -d "$folder" ip_vs_rr || :
	export LD_LIBRARY_PATH=$folder/usr/lib/x86_64-linux-gnu
	ipvsadm=$folder/sbin/ipvsadm
	fill() { for i in {1..250}; do echo "-A -t $1.$i:80 -s rr"; done | "${@:2}" "$ipvsadm" -R; }
	shown() { echo "$1: /proc has $(grep -c '^TCP' /proc/net/ip_vs), netlink has $($ipvsadm -Ln | grep -c '^TCP')"; }
	uname -r
	$ipvsadm --version
	fill 10.96.0 env
	shown alone
	unshare -n sleep 600 &
	until [ "$(readlink /proc/$!/ns/net)" != "$(readlink /proc/1/ns/net)" ]; do :; done
	fill 10.97.0 nsenter -t $! -n
	shown beside
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
beside=$(sed -n 's/^beside: .proc has \([0-9]*\), netlink has 250$/\1/p' <<<"$seen")
grep -q '^alone: /proc has 250, netlink has 250$' <<<"$seen" && [ -n "$beside" ] && [ "$beside" -lt 250 ] || { echo "CHANGED"; exit 1; }
echo "as described: 250 virtual servers, $beside of them in /proc/net/ip_vs"
