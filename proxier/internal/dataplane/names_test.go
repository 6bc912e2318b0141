package dataplane

import (
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// everNamed are the types of all sets that a version of this program has made, by their names. Lines are added to it,
// and none is changed.
var everNamed = map[string]ipset.Type{
	"IPVSP-CLIENTS":       ipset.HashIPPortNet,
	"IPVSP-CLUSTER-IP":    ipset.HashIPPort,
	"IPVSP-EXTERNAL-IP":   ipset.HashIPPort,
	"IPVSP-FRONT-END":     ipset.HashIPPort,
	"IPVSP-HAIRPIN":       ipset.HashIPPortIP,
	"IPVSP-HEALTH-CHECKS": ipset.BitmapPort,
	"IPVSP-HOLD":          ipset.HashIPPort,
	"IPVSP-LOCAL":         ipset.HashIPPort,
	"IPVSP-NO-LOCAL":      ipset.HashIPPort,
	"IPVSP-NODE-PORT":     ipset.HashIPPort,
	"IPVSP-POD-NET":       ipset.HashNet,
	"IPVSP-RESTRICTED":    ipset.HashIPPort,
	"IPVSP-VIP":           ipset.HashIP,
}

// TestNamesOfSets: a name never means another type. The kernel exchanges only sets of one type in place, so that an
// upgrade, or the way back, would meet a set that it can neither fill nor replace while rules ask it.
func TestNamesOfSets(t *testing.T) {
	for name, typ := range setTypes {
		switch was, known := everNamed[name]; {
		case !known:
			t.Errorf("set %s is new: add it, with its type %s, to everNamed", name, typ)
		case was != typ:
			t.Errorf("set %s has meant %s and means %s: give it another name, such as %s-2", name, was, typ, name)
		}
		for _, family := range []cluster.Family{cluster.IPv4, cluster.IPv6} {
			if full := SetName(name, family) + "-2~"; len(full) > ipset.MaxNameLen {
				t.Errorf("%s: no space for another name", name)
			}
		}
	}
}
