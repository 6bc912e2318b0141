package scheduler

func init() {
	Register(Scheduler{
		Name:      "wrr",
		Aliases:   []string{"weighted-round-robin"},
		Kernel:    "wrr",
		Summary:   "Weighted round robin: endpoints take turns, as often as their weights say. Good for endpoints of different size.",
		Weighted:  true,
		SlowStart: true,
	})
}
