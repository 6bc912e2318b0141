package scheduler

func init() {
	Register(Scheduler{
		Name:      "nq",
		Aliases:   []string{"never-queue"},
		Kernel:    "nq",
		Summary:   "Never queue: an endpoint without a connection of this node if there is one, else as sed. Good for few long requests on endpoints of different speed.",
		Weighted:  true,
		SlowStart: true,
	})
}
