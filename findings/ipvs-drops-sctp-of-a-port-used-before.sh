#!/usr/bin/env bash
# Finding: IPVS drops the first packet of an SCTP association whose client port had another one in the last ten seconds.
#
# Seen on Linux 6.1.176 (User-Mode Linux of Debian 12) with ipvsadm 1.31 and masquerading, on the director itself:
#   net.ipv4.vs.conntrack=1, conn_reuse_mode=1   the second association takes more than a second: its INIT is dropped,
#                                                and the one that is sent again passes
#   net.ipv4.vs.conntrack=0, or conn_reuse_mode=0   it takes no longer than the first
# No counter grows. conntrack=1 is what masquerading by netfilter needs, and 1 is the default of conn_reuse_mode. By TCP
# nothing is dropped since Linux 5.9: connection tracking forgets a connection in TIME_WAIT when a SYN comes. It keeps
# the entry of a closed association, and IPVS drops a packet that would take such an entry to another connection
# (net/netfilter/ipvs/ip_vs_core.c, ip_vs_in, old_ct). A client that makes 75 associations a second from 28,232 ports
# meets a port of the last ten seconds once in forty.
#
# Needs root on Debian 12 (amd64) with iproute2, kmod and python3; nothing is installed: packages are unpacked in a
# temporary folder.
set -euo pipefail
if [ $$ = 1 ]; then # the first process of the guest
	export PATH=/usr/sbin:/usr/bin:/sbin:/bin
	mount -t proc proc /proc && mount -t sysfs sysfs /sys && mount -t tmpfs tmpfs /run
	folder=$(sed 's/.*folder=\([^ ]*\).*/\1/' /proc/cmdline)
	modprobe -d "$folder" nf_conntrack enable_hooks=1 # connections are tracked as with a NAT rule
	for name in ip_vs_rr sctp dummy veth; do modprobe -d "$folder" "$name" || :; done
	export LD_LIBRARY_PATH=$folder/usr/lib/x86_64-linux-gnu
	ip link set lo up
	unshare -n sleep 600 &
	until [ "$(readlink /proc/$!/ns/net)" != "$(readlink /proc/1/ns/net)" ]; do :; done
	there() { nsenter -t $! -n "$@"; }
	ip link add here type veth peer name there netns $!
	ip addr add 10.1.0.1/24 dev here && ip link set here up
	there ip addr add 10.1.0.2/24 dev there && there ip link set there up && there ip route add default via 10.1.0.1
	ip link add vip type dummy && ip addr add 10.96.0.1/32 dev vip && ip link set vip up
	ipvsadm=$folder/sbin/ipvsadm
	$ipvsadm -A --sctp-service 10.96.0.1:80 -s rr && $ipvsadm -a --sctp-service 10.96.0.1:80 -r 10.1.0.2:80 -m
	there sh -c 'echo none >/proc/sys/net/sctp/cookie_hmac_alg' # spares modules of hashes
	there python3 -c '
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132)
server.bind(("10.1.0.2", 80))
server.listen(8)
while True:
    connection, _ = server.accept()
    connection.recv(1)
    connection.close()
' &
	uname -r
	$ipvsadm --version
	port=40000
	for settings in 1,1 0,1 1,0; do
		echo "${settings%,*}" >/proc/sys/net/ipv4/vs/conntrack
		echo "${settings#*,}" >/proc/sys/net/ipv4/vs/conn_reuse_mode
		port=$((port + 10))
		python3 - "$settings" "$port" <<-'END'
			import socket, sys, time
			def associate(port):
			    began = time.monotonic()
			    client = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132)
			    client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
			    client.bind(("10.96.0.1", port))
			    client.connect(("10.96.0.1", 80))
			    took = time.monotonic() - began
			    client.close()
			    return took
			for attempt in range(40):  # until the server listens
			    try:
			        associate(int(sys.argv[2]) + 5)
			        break
			    except OSError:
			        time.sleep(0.25)
			for word in "first", "second":
			    took = associate(int(sys.argv[2]))
			    print(f"conntrack,conn_reuse_mode={sys.argv[1]}: the {word} took", "more than a second" if took > 0.9 else "less")
			    time.sleep(1)  # both ends have closed
		END
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
took() { sed -n "s/^conntrack,conn_reuse_mode=$1: the $2 took //p" <<<"$seen"; }
for settings in 1,1 0,1 1,0; do
	[ "$(took $settings first)" = less ] || { echo "CHANGED"; exit 1; }
done
[ "$(took 1,1 second)" = "more than a second" ] && [ "$(took 0,1 second)" = less ] && [ "$(took 1,0 second)" = less ] || { echo "CHANGED"; exit 1; }
echo "as described"
