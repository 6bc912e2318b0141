package scheduler

func init() {
	Register(Scheduler{
		Name:      "sed",
		Aliases:   []string{"shortest-expected-delay"},
		Kernel:    "sed",
		Summary:   "Shortest expected delay: like wlc, and counts the new connection, so that the bigger endpoint gets the first one. Good for few long requests.",
		Weighted:  true,
		SlowStart: true,
	})
}
