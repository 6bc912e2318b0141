package replay

import (
	"fmt"
	"io"
	"time"

	vishvananda "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/internal/netlink"
)

// Result is what a replay took.
type Result struct {
	Messages int     `json:"messages"`
	Sends    uint64  `json:"sends"`
	Took     float64 `json:"took_s"`
	Failed   int     `json:"failed"`
	Failure  string  `json:"failure,omitempty"` // the first
	Look     Look    `json:"look"`
}

// Run reads records and sends the messages in them: as many in a system call as fit, an acknowledgement asked for the
// last only. It is timed from the first send to the last answer; sockets are open and messages laid out by then. Then
// it looks at what is there.
func Run(records io.Reader) (*Result, error) {
	all, err := Read(records)
	if err != nil {
		return nil, err
	}
	family, err := vishvananda.GenlFamilyGet("IPVS")
	if err != nil {
		return nil, fmt.Errorf("find the kernel's IPVS: %w", err)
	}
	sockets := map[uint16]*netlink.Socket{}
	for _, protocol := range []uint16{unix.NETLINK_GENERIC, unix.NETLINK_ROUTE, unix.NETLINK_NETFILTER} {
		s, err := netlink.Dial(int(protocol))
		if err != nil {
			return nil, err
		}
		defer s.Close()
		sockets[protocol] = s
	}
	r := &Result{}
	steps := plan(messages(all, family.ID))
	began := time.Now()
	for _, s := range steps {
		for _, err := range sockets[s.protocol].Execute(s.batch) {
			if err != nil {
				if r.Failed++; r.Failed == 1 {
					r.Failure = err.Error()
				}
			}
		}
	}
	r.Took = time.Since(began).Seconds()
	for _, s := range steps {
		r.Messages += s.batch.Len()
	}
	for _, s := range sockets {
		r.Sends += s.Sends
	}
	r.Look, err = look(sockets, family.ID)
	return r, err
}
