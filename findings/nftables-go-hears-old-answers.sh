#!/usr/bin/env bash
# Finding: after one Flush that fails, a lasting connection of github.com/google/nftables takes the answers of that
# Flush for those of the next ones. So a change that the kernel refuses is reported as done.
#
# Seen with github.com/google/nftables v0.3.0 on Linux 6.1.176 (User-Mode Linux of Debian 12). The library asks for an
# acknowledgement of each message, and the kernel sends them all when it has done the whole batch. 1,000 of them do
# not fit into a receive buffer of the usual size (212,992 bytes): Flush returns ENOBUFS. Two things follow that
# nobody would guess. All 1,000 changes are in the kernel. And the acknowledgements that did fit are still in the
# socket: the next Flush reads as many of them as it has sent messages, and returns nil, although the kernel has
# refused its change. A new connection for each Flush, or a read buffer of some 1 KiB for each message, has neither.
#
# Needs root on Debian 12 (amd64) with Go and kmod; nothing is installed: packages are unpacked and built in a
# temporary folder.
set -euo pipefail
if [ $$ = 1 ]; then # the first process of the guest
	export PATH=/usr/sbin:/usr/bin:/sbin:/bin
	mount -t proc proc /proc && mount -t sysfs sysfs /sys && mount -t tmpfs tmpfs /run
	folder=$(sed 's/.*folder=\([^ ]*\).*/\1/' /proc/cmdline)
	modprobe -d "$folder" nf_tables || :
	uname -r
	"$folder/flush/flush" || :
	poweroff -f -f >/dev/null 2>&1 || echo o >/proc/sysrq-trigger
	sleep 60
fi

folder=$(mktemp -d) && trap 'chmod -R u+w "$folder"; rm -rf "$folder"' EXIT
cd "$folder"
versions="user-mode-linux=6.1um4+b13"
apt-get download -q $versions >/dev/null || { echo "NOT TRIED: apt has no $versions; name here what it has, and look again"; exit 2; }
for package in *.deb; do dpkg-deb -x "$package" .; done
mkdir -p lib flush && ln -s ../usr/lib/uml/modules lib/modules
cat >flush/main.go <<'GO'
package main

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/google/nftables"
)

// missing is no table that is there: the kernel refuses a chain of it with ENOENT.
var missing = &nftables.Table{Name: "missing", Family: nftables.TableFamilyBridge}

func refused(conn *nftables.Conn) error {
	conn.AddChain(&nftables.Chain{Table: missing, Name: "chain"})
	return conn.Flush()
}

func chains() int {
	conn, _ := nftables.New()
	all, err := conn.ListChains()
	if err != nil {
		fmt.Println(err)
	}
	return len(all)
}

func main() {
	for _, batch := range []int{100, 1000} {
		conn, err := nftables.New(nftables.AsLasting())
		if err != nil {
			fmt.Println(err)
			return
		}
		before := chains()
		// Of the families User-Mode Linux has the bridge's alone.
		table := conn.AddTable(&nftables.Table{Name: fmt.Sprint("batch", batch), Family: nftables.TableFamilyBridge})
		for i := range batch {
			conn.AddChain(&nftables.Chain{Table: table, Name: fmt.Sprint("chain", i)})
		}
		err = conn.Flush()
		fmt.Printf("%d chains: ENOBUFS %v, %d are there\n", batch, errors.Is(err, syscall.ENOBUFS), chains()-before)
		err = refused(conn)
		fmt.Printf("a chain of no table behind them: ENOENT %v, error is nil %v\n", errors.Is(err, syscall.ENOENT), err == nil)
		conn.CloseLasting()
	}
}
GO
(cd flush && go mod init finding && go get github.com/google/nftables@v0.3.0 && CGO_ENABLED=0 go build -o flush .) >/dev/null 2>&1
cp "$OLDPWD/${0#"$OLDPWD"/}" init 2>/dev/null || cp "$0" init
chmod 755 init .
seen=$(timeout 300 usr/bin/linux.uml mem=512M root=/dev/root rootfstype=hostfs rootflags=/ ro init="$folder/init" folder="$folder" \
	con=null con0=fd:0,fd:1 quiet loglevel=3 </dev/null 2>/dev/null | tr -d '\r')
echo "$seen"
want='100 chains: ENOBUFS false, 100 are there
a chain of no table behind them: ENOENT true, error is nil false
1000 chains: ENOBUFS true, 1000 are there
a chain of no table behind them: ENOENT false, error is nil true'
[ "$(grep chain <<<"$seen")" = "$want" ] || { echo "CHANGED"; exit 1; }
echo "as described"
