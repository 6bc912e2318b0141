package dataplane

// Glance is what a kernel reports of itself for some messages, however much it holds.
type Glance struct {
	// Servers is how many virtual servers of IPv4 there are, whoever made them and firewall marks included; below 0
	// where the kernel does not report it.
	Servers int
	// Entries is how many entries our sets have; below 0 where the kernel does not report it, or the part was not
	// requested.
	Entries int
	// Rules is another number after somebody else has changed rules, or sets where they are one thing with rules. It
	// may be another one after our own changes, too. It stays the same where the kernel does not report it.
	Rules uint64
}
