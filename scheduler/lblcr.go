package scheduler

func init() {
	Register(Scheduler{
		Name:     "lblcr",
		Aliases:  []string{"locality-based-least-connection-replication", "locality-based-least-connection-with-replication"},
		Kernel:   "lblcr",
		Summary:  "Locality-based least connection with replication: as lblc, with a set of endpoints that grows under load and shrinks again.",
		Weighted: true,
		// As with lblc (ip_vs_lblcr.c, register_pernet_subsys).
		LoadedByNode: true,
		Caution:      "lblcr remembers endpoints for each destination address, and a virtual server of a Service has one address: few endpoints get the connections until they are overloaded",
	})
}
