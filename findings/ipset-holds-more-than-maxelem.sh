#!/usr/bin/env bash
# Finding: a set may hold more entries than its maxelem, and then refuses to be restored from its own listing.
#
# Seen with ipset 7.17 on Linux 6.1.176 (User-Mode Linux of Debian 12). A hash set of maxelem 1000 with 8,192 buckets
# takes some 2 to 5 percent more than 1,000 addresses before it says "Hash is full"; one with 64 buckets takes exactly
# 1,000. From some 1,000 buckets on the kernel counts the entries of a set by regions of buckets, and looks at the
# total only once a region has had its share (net/netfilter/ipset/ip_set_hash_gen.h). Which address is refused first
# hangs on a random seed, which each set draws anew. So "ipset restore" refuses most of the times what "ipset save" has
# written of such a set.
#
# Needs root on Debian 12 (amd64); nothing is installed: packages are unpacked in a temporary folder.
set -euo pipefail
if [ $$ = 1 ]; then # the first process of the guest
	export PATH=/usr/sbin:/usr/bin:/sbin:/bin
	mount -t proc proc /proc && mount -t sysfs sysfs /sys && mount -t tmpfs tmpfs /run
	folder=$(sed 's/.*folder=\([^ ]*\).*/\1/' /proc/cmdline)
	modules=$folder/usr/lib/uml/modules/$(uname -r)
	for name in nfnetlink ip_set ip_set_hash_ip; do
		insmod "$(find "$modules" -name "$name.ko*" | head -1)" 2>/dev/null || :
	done
	export LD_LIBRARY_PATH=$folder/usr/lib/x86_64-linux-gnu
	ipset=$folder/usr/sbin/ipset
	fill() { # name, buckets: add 1,060 addresses one by one until the first is refused, and the others too
		$ipset create "$1" hash:ip hashsize "$2" maxelem 1000
		for i in {0..1059}; do echo "add $1 10.0.$((i / 250)).$((i % 250))"; done >/run/adds
		while ! $ipset restore -exist </run/adds 2>/run/words; do
			line=$(sed -n 's/.*in line \([0-9]*\).*/\1/p' /run/words)
			[ -n "$line" ] || { cat /run/words; break; }
			sed -i "1,${line}d" /run/adds
		done
		$ipset list "$1" -t | sed -n "s/^Number of entries: /$1 holds /p"
	}
	uname -r
	$ipset version | head -1
	fill small 64
	most=0
	for _ in {1..3}; do # of three seeds the one that lets in most, as others refuse its listing
		holds=$(fill large 8192)
		if [ "${holds##* }" -gt "$most" ]; then most=${holds##* } && $ipset save large >/run/saved; fi
		$ipset destroy large
	done
	echo "large holds $most"
	for _ in {1..10}; do
		if $ipset restore </run/saved 2>/run/words; then echo "restored"; else echo "not restored: $(head -1 /run/words)"; fi
		$ipset destroy large
	done
	poweroff -f -f >/dev/null 2>&1 || echo o >/proc/sysrq-trigger
	sleep 60
fi

folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
cd "$folder"
versions="user-mode-linux=6.1um4+b13 ipset=7.17-1 libipset13=7.17-1 libmnl0=1.0.4-3"
apt-get download -q $versions >/dev/null || { echo "NOT TRIED: apt has no $versions; name here what it has, and look again"; exit 2; }
for package in *.deb; do dpkg-deb -x "$package" .; done
cp "$OLDPWD/${0#"$OLDPWD"/}" init 2>/dev/null || cp "$0" init
chmod 755 init .
seen=$(timeout 300 usr/bin/linux.uml mem=512M root=/dev/root rootfstype=hostfs rootflags=/ ro init="$folder/init" folder="$folder" \
	con=null con0=fd:0,fd:1 quiet loglevel=3 </dev/null 2>/dev/null | tr -d '\r')
echo "$seen"
small=$(sed -n 's/^small holds //p' <<<"$seen") large=$(sed -n 's/^large holds //p' <<<"$seen")
[ "$small" = 1000 ] && [ "$large" -gt 1000 ] && grep -q '^not restored' <<<"$seen" || { echo "CHANGED: small $small, large $large"; exit 1; }
echo "as described: a set of maxelem 1000 holds $large"
