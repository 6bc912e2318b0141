package scheduler

func init() {
	Register(Scheduler{
		Name:     "fo",
		Aliases:  []string{"weighted-failover", "failover"},
		Kernel:   "fo",
		Summary:  "Failover: the endpoint with the greatest weight gets everything, the next one only when that is gone. Good for a primary with standbys.",
		Weighted: true,
		// All nodes must agree on the primary, also among equal weights.
		Order: Canonical,
	})
}
