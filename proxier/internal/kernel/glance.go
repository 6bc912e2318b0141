package kernel

import (
	"fmt"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// Glance implements dataplane.Kernel. IPVS says how many virtual servers of IPv4 it has by one getsockopt
// (IP_VS_SO_GET_INFO; net/netfilter/ipvs/ip_vs_ctl.c, do_ip_vs_get_ctl, Linux 6.1 to 7.2). Netlink has no such number:
// IPVS_CMD_GET_INFO has the version and the size of the table of connections. /proc/net/ip_vs_status has one of both
// families from Linux 7.1 on, for which the kernel goes through all buckets of two tables.
func (k *Linux) Glance(parts dataplane.Parts) (dataplane.Glance, error) {
	seen := dataplane.Glance{Servers: -1, Entries: -1}
	if parts.Has(dataplane.PartServers) && k.ipvs.reader != nil {
		// A kernel that refuses this request leaves the number unknown; audits do not need it.
		if n, err := k.ipvs.reader.Services(); err == nil {
			seen.Servers = n
		}
	}
	return seen, k.netfilter.glance(&seen, parts)
}

// glance sets seen.Rules to the generation of nftables less the number of our own transactions. Each of ours was the
// next generation: the kernel refuses one when another program was faster (NFNL_BATCH_GENID).
func (o *ownTables) glance(seen *dataplane.Glance, parts dataplane.Parts) error {
	if !parts.Has(dataplane.PartRules) {
		return nil
	}
	generation, err := o.backend.Generation()
	if err != nil {
		return err
	}
	seen.Rules = uint64(generation - o.backend.Transactions())
	return nil
}

// glance sets seen.Rules to the generation of nftables where iptables writes there. Our own rules change with the
// configuration only.
func (x *xtables) glance(seen *dataplane.Glance, parts dataplane.Parts) (err error) {
	if generation, known := x.asker.generation(); known && parts.Has(dataplane.PartRules) {
		seen.Rules = uint64(generation)
	}
	if parts.Has(dataplane.PartSets) {
		if seen.Entries, err = x.sets.Count(dataplane.Prefix); err != nil {
			return fmt.Errorf("count set entries: %w", err)
		}
	}
	return nil
}
