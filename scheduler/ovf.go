package scheduler

func init() {
	Register(Scheduler{
		Name:     "ovf",
		Aliases:  []string{"weighted-overflow", "overflow"},
		Kernel:   "ovf",
		Summary:  "Overflow: the endpoint with the greatest weight until it has as many connections of this node as its weight, then the next. Good for filling few endpoints first.",
		Weighted: true,
		// All nodes fill the same endpoints first.
		Order:             Canonical,
		CautionUnweighted: "ovf takes the weight of an endpoint for the number of connections that it may have from each node, and refuses new ones when all are full: give weights that are large enough (annotation ipvs-proxier.io/weight)",
	})
}
