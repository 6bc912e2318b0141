#!/bin/bash
# The first process of a User-Mode Linux guest: makes a usable machine of the host's file tree without writing to it, runs
# the command, leaves its exit status and halts.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc none /proc
for word in $(cat /proc/cmdline); do
  case $word in lab=*) LAB=${word#lab=} ;; esac
done

fail() { echo "lab: guest: $*"; halt_now; }
halt_now() { sync; halt -f -f; sleep 60; }

mount -t sysfs none /sys
mount -t devtmpfs none /dev 2>/dev/null || mount -t tmpfs none /dev
[ -e /dev/fd ] || ln -s /proc/self/fd /dev/fd
[ -e /dev/null ] || mknod -m 666 /dev/null c 1 3
[ -e /dev/zero ] || mknod -m 666 /dev/zero c 1 5
[ -e /dev/random ] || mknod -m 666 /dev/random c 1 8
[ -e /dev/urandom ] || mknod -m 666 /dev/urandom c 1 9
[ -e /dev/tty ] || mknod -m 666 /dev/tty c 5 0
mkdir -p /dev/pts /dev/shm
mount -t devpts none /dev/pts 2>/dev/null
mount -t tmpfs none /dev/shm
mount -t cgroup2 none /sys/fs/cgroup 2>/dev/null

# Directories that stay written, and the control directory, are mounted before /tmp goes under a tmpfs of its own: they may
# lie below it.
mount -t tmpfs -o size=64m none /mnt
i=0
while read -r dir; do
  [ -n "$dir" ] || continue
  mkdir -p "/mnt/w$i" && mount -t hostfs none "/mnt/w$i" -o "$dir" || fail "cannot mount $dir"
  i=$((i + 1))
done < "$LAB/write"
cp "$LAB/write" /mnt/list
for dir in /run /tmp /var/tmp /var/lib /var/log; do
  mount -t tmpfs none "$dir" || fail "no tmpfs on $dir"
done
i=0
while read -r dir; do
  [ -n "$dir" ] || continue
  mkdir -p "$dir" 2>/dev/null
  mount --bind "/mnt/w$i" "$dir" || fail "cannot bind $dir"
  i=$((i + 1))
done < /mnt/list
mkdir -p /run/netns /run/lock /run/xtables

# Modules: the package has them elsewhere than modprobe looks.
release=$(uname -r)
source=/usr/lib/uml/modules/$release
root=/run/modules
mkdir -p "$root/lib/modules/$release" /run/bin
cp "$source"/modules.* "$root/lib/modules/$release/"
ln -s "$source/kernel" "$root/lib/modules/$release/kernel"
printf '#!/bin/sh\nexec %s -d %s "$@"\n' "$(command -v modprobe)" "$root" > /run/bin/modprobe
chmod 755 /run/bin/modprobe
echo /run/bin/modprobe > /proc/sys/kernel/modprobe
for tool in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
  ln -s "$(command -v xtables-legacy-multi)" "/run/bin/$tool"
done
export PATH=/run/bin:$PATH
modprobe -a nf_conntrack ip_vs ip_vs_rr ip_vs_lc ip_vs_sh iptable_nat ip6table_nat iptable_filter ip6table_filter xt_set dummy veth \
  2>/run/modprobe.log || fail "modules: $(cat /run/modprobe.log)"

ip link set lo up
hostname lab 2>/dev/null
# "Refused" must not turn into "timeout" by chance.
sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv4.icmp_msgs_per_sec=100000 net.ipv4.icmp_msgs_burst=100000 net.ipv6.icmp.ratelimit=0 2>/dev/null
export HOME=/run TMPDIR=/tmp LAB_GUEST="User-Mode Linux $release"
ulimit -n 65536
echo "lab: ready"
bash "$LAB/command" </dev/null
status=$?
echo "$status" > "$LAB/status"
echo "lab: over"
halt_now
