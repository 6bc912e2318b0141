package kernel

import (
	"golang.org/x/sys/unix"

	wire "github.com/ipvs-proxier/ipvs-proxier/internal/ipvs"
	"github.com/ipvs-proxier/ipvs-proxier/internal/netlink"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// ServiceTraffic is what went through one virtual server since it was made.
type ServiceTraffic = wire.Traffic

// ReadServiceTraffic returns the counters of all virtual servers, in one dump over a socket of its own. An exchange of
// the scheduler or of a real server leaves the counters as they are; a virtual server that is made anew begins at 0.
func ReadServiceTraffic() (map[dataplane.VirtualServerID]ServiceTraffic, error) {
	family, err := familyOfIPVS()
	if err != nil {
		return nil, err
	}
	socket, err := netlink.Dial(unix.NETLINK_GENERIC)
	if err != nil {
		return nil, err
	}
	defer socket.Close()
	var batch netlink.Batch
	wire.Begin(&batch, family, wire.GetService, 0)
	batch.End()
	counted := map[dataplane.VirtualServerID]ServiceTraffic{}
	err = socket.Dump(&batch, func() { clear(counted) }, func(payload []byte) {
		if id, _, ok := parseService(payload); ok {
			counted[id] = wire.ParseTraffic(payload)
		}
	})
	if err != nil {
		return nil, err
	}
	return counted, nil
}
