package scheduler

func init() {
	Register(Scheduler{
		Name:     "lblc",
		Aliases:  []string{"locality-based-least-connection"},
		Kernel:   "lblc",
		Summary:  "Locality-based least connection: wlc, remembered for each destination address; on the single address of a Service one endpoint until it is overloaded.",
		Weighted: true,
		// A module registers with the network namespaces when it is loaded, which waits for namespaces that are being
		// removed. Those wait for IPVS's mutex, which the kernel holds while it loads a module for IPVS: for ever
		// (net/netfilter/ipvs: ip_vs_ctl.c, ip_vs_service_nets_cleanup; ip_vs_lblc.c, register_pernet_subsys; Linux
		// 6.1).
		LoadedByNode: true,
		Caution:      "lblc remembers an endpoint for each destination address, and a virtual server of a Service has one address: one endpoint gets the connections until it has more than twice its weight of them and another one has less than half",
	})
}
