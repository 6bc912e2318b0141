package scheduler

func init() {
	Register(Scheduler{
		Name:     "lblc",
		Aliases:  []string{"locality-based-least-connection"},
		Kernel:   "lblc",
		Summary:  "Locality-based least connection: wlc, remembered for each destination address; on the single address of a Service one endpoint until it is overloaded.",
		Weighted: true,
		Caution:  "lblc remembers an endpoint for each destination address, and a virtual server of a Service has one address: one endpoint gets the connections until it has more than twice its weight of them and another one has less than half",
	})
}
