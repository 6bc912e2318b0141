package scheduler

func init() {
	Register(Scheduler{
		Name:    "sh",
		Aliases: []string{"source-hash", "source-hashing", "sourcehash"},
		Kernel:  "sh",
		Summary: "Source hash: a client's address decides, so that a client stays with its endpoint. Good for caches per client.",
		// The kernel's table (256 buckets) gives an endpoint as many buckets as its weight says
		// (net/netfilter/ipvs/ip_vs_sh.c, ip_vs_sh_reassign).
		Weighted:  true,
		Supported: Fallback | Port,
		// Without fallback the kernel refuses clients whose bucket belongs to a draining endpoint.
		Default: Fallback,
	})
}
