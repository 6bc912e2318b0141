package dataplane

import "github.com/ipvs-proxier/ipvs-proxier/scheduler/hashing"

// TableDigest returns the digest of the table that the kernel's scheduler has built from its list, "" for one without a
// table. A real server of weight 0 has no last weight: where that counts, it was added anew with weight 0
// ([scheduler.IdleRenewed]).
func TableDigest(of VirtualServer, list []RealServer) string {
	var servers []hashing.RealServer
	for _, r := range list {
		servers = append(servers, hashing.RealServer{Addr: r.Addr, Port: r.Port, Weight: r.Weight, LastWeight: r.Weight})
	}
	table, has := hashing.New(of.Scheduler, of.Flags, servers)
	if !has {
		return ""
	}
	return table.Digest()
}
