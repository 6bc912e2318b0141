package scheduler

func init() {
	Register(Scheduler{
		Name:      "mh",
		Aliases:   []string{"maglev", "maglev-hash", "maglev-hashing"},
		Kernel:    "mh",
		Summary:   "Maglev hash: a client's address decides by a consistent hash, the same on every node, and few clients move when endpoints change. Good for caches, and for connections that any node may get.",
		Weighted:  true,
		Supported: Fallback | Port,
		Default:   Fallback,
		// Endpoints take turns for the slots of the table in the order of the list, by their last weight above 0
		// (net/netfilter/ipvs/ip_vs_mh.c, ip_vs_mh_populate, Linux 6.12).
		Order: Canonical,
		Idle:  IdleRenewed,
		// CONFIG_IP_VS_MH_TAB_INDEX 12, unless a kernel was built otherwise.
		Places: 4093,
		// Some 100 to 500 us for each change of a real server (net/netfilter/ipvs/ip_vs_mh.c, ip_vs_mh_dest_changed).
		CostlyTable: true,
	})
}
