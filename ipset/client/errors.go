package client

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/internal/netlink"
)

// Error numbers above the system's, from include/uapi/linux/netfilter/ipset/ip_set.h and ip_set_hash.h.
const (
	errFindType     = 4098
	errMaxSets      = 4099
	errBusy         = 4100
	errTypeMismatch = 4102
	errExist        = 4103
	errReferenced   = 4108
	errHashFull     = 4352
)

// explain puts words, and the errno that fits, in the place of ipset's own error numbers. exist is what "it exists, or
// does not, against expectation" means for the command.
func explain(err error, exist unix.Errno) error {
	var f *netlink.Failure
	if !errors.As(err, &f) {
		return err
	}
	switch f.Errno {
	case errExist:
		return exist
	case errBusy, errReferenced:
		return fmt.Errorf("the set is referred to by a rule: %w", unix.EBUSY)
	case errFindType:
		return fmt.Errorf("this kernel has no such set type: %w", unix.EOPNOTSUPP)
	case errMaxSets:
		return fmt.Errorf("no more sets are allowed (module parameter max_sets of ip_set): %w", unix.ENOSPC)
	case errTypeMismatch:
		return fmt.Errorf("the set has another type: %w", unix.EINVAL)
	case errHashFull:
		// Not the set: the entry's region of it, when there are maxelem entries in all. Another entry may find room.
		return fmt.Errorf("the set has no room for this entry (maxelem): %w", unix.ENOSPC)
	}
	if f.Errno > 4095 {
		return fmt.Errorf("ipset error %d", uint(f.Errno))
	}
	return err
}
