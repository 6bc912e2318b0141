#!/usr/bin/env bash
# Finding: github.com/google/nftables reports no error for a set of 5,000 addresses, of which the kernel gets 904.
#
# Seen with github.com/google/nftables v0.3.0 on Linux 6.1.176 (User-Mode Linux of Debian 12). The library puts all
# elements of one call into one netlink attribute. The length of an attribute has 16 bits, and wraps. An element with
# an IPv4 address takes 16 bytes: 4,095 fit. With 4,096 the length is 0 and more behind it, and the kernel refuses it.
# With 5,000 what the wrapped length covers is a good list, and Flush returns nil. Several calls of fewer elements,
# all before one Flush, put all of them in. (Other kernels, 6.12 and 7.2, are the same: it is the library's message.)
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
	"$folder/add/add" || :
	poweroff -f -f >/dev/null 2>&1 || echo o >/proc/sysrq-trigger
	sleep 60
fi

folder=$(mktemp -d) && trap 'chmod -R u+w "$folder"; rm -rf "$folder"' EXIT
cd "$folder"
versions="user-mode-linux=6.1um4+b13"
apt-get download -q $versions >/dev/null || { echo "NOT TRIED: apt has no $versions; name here what it has, and look again"; exit 2; }
for package in *.deb; do dpkg-deb -x "$package" .; done
mkdir -p lib add && ln -s ../usr/lib/uml/modules lib/modules
cat >add/main.go <<'GO'
package main

import (
	"fmt"

	"github.com/google/nftables"
)

// fill adds addresses to a new set, so many to a call, and returns how many the kernel has then.
func fill(name string, all, call int) (int, error) {
	conn, err := nftables.New()
	if err != nil {
		return 0, err
	}
	// Of the families User-Mode Linux has the bridge's alone. The elements are the same in each.
	table := conn.AddTable(&nftables.Table{Name: "finding", Family: nftables.TableFamilyBridge})
	set := &nftables.Set{Table: table, Name: name, KeyType: nftables.TypeIPAddr}
	if err := conn.AddSet(set, nil); err != nil {
		return 0, err
	}
	for from := 0; from < all; from += call {
		var elements []nftables.SetElement
		for i := from; i < min(from+call, all); i++ {
			elements = append(elements, nftables.SetElement{Key: []byte{10, 0, byte(i >> 8), byte(i)}})
		}
		if err := conn.SetAddElements(set, elements); err != nil {
			return 0, err
		}
	}
	if err := conn.Flush(); err != nil {
		return 0, err
	}
	elements, err := conn.GetSetElements(set)
	return len(elements), err
}

func main() {
	for _, c := range []struct{ all, call int }{{4095, 4095}, {4096, 4096}, {5000, 5000}, {5000, 1000}} {
		has, err := fill(fmt.Sprintf("set%d-%d", c.all, c.call), c.all, c.call)
		fmt.Printf("%d addresses, %d to a call: the set has %d, error %v\n", c.all, c.call, has, err)
	}
}
GO
(cd add && go mod init finding && go get github.com/google/nftables@v0.3.0 && CGO_ENABLED=0 go build -o add .) >/dev/null 2>&1
cp "$OLDPWD/${0#"$OLDPWD"/}" init 2>/dev/null || cp "$0" init
chmod 755 init .
seen=$(timeout 300 usr/bin/linux.uml mem=512M root=/dev/root rootfstype=hostfs rootflags=/ ro init="$folder/init" folder="$folder" \
	con=null con0=fd:0,fd:1 quiet loglevel=3 </dev/null 2>/dev/null | tr -d '\r')
echo "$seen"
for line in '4095 addresses, 4095 to a call: the set has 4095, error <nil>' '5000 addresses, 5000 to a call: the set has 904, error <nil>' \
	'5000 addresses, 1000 to a call: the set has 5000, error <nil>'; do
	grep -qxF "$line" <<<"$seen" || { echo "CHANGED: not seen: $line"; exit 1; }
done
grep -q '^4096 addresses, 4096 to a call: the set has 0, error ..*no such file' <<<"$seen" || { echo "CHANGED"; exit 1; }
echo "as described"
