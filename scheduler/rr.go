package scheduler

func init() {
	Register(Scheduler{
		Name:    "rr",
		Aliases: []string{"round-robin", "roundrobin"},
		Kernel:  "rr",
		Summary: "Round robin: endpoints take turns. Good when requests cost about the same.",
	})
}
