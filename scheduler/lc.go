package scheduler

func init() {
	Register(Scheduler{
		Name:    "lc",
		Aliases: []string{"least-connection", "least-connections", "leastconn"},
		Kernel:  "lc",
		Summary: "Least connection: the endpoint with the fewest connections of this node. Good when some requests or endpoints are slow.",
	})
}
