package scheduler

func init() {
	Register(Scheduler{
		Name:      "wlc",
		Aliases:   []string{"weighted-least-connection", "weighted-least-connections"},
		Kernel:    "wlc",
		Summary:   "Weighted least connection: the endpoint with the fewest connections of this node for its weight. Good for slow requests on endpoints of different size.",
		Weighted:  true,
		SlowStart: true,
	})
}
