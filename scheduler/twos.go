package scheduler

func init() {
	Register(Scheduler{
		Name:     "twos",
		Aliases:  []string{"power-of-two-choices", "power-of-twos-choice", "two-choices"},
		Kernel:   "twos",
		Summary:  "Power of two choices: two endpoints by chance, and of these the one with fewer connections of this node for its weight. Good for many nodes with few connections each.",
		Weighted: true,
	})
}
