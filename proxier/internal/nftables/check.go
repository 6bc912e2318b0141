package nftables

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// checkTable is the name of the tables of a transaction that never goes in.
const checkTable = Table + "-check"

// Check reports whether the kernel takes the operations, and says what it lacks for them. It changes nothing: it sends
// them for a table of another name, in a transaction whose last message the kernel must refuse.
func Check(ops []dataplane.Op) error {
	b, err := New()
	if err != nil {
		return lacking(err)
	}
	defer b.Close()
	b.table = checkTable
	for range tries {
		err := b.check(ops)
		if !errors.Is(err, errStale) {
			return err
		}
	}
	return errStale
}

func (b *Backend) check(ops []dataplane.Op) error {
	generation, err := b.generation()
	if err != nil {
		return lacking(err)
	}
	t := b.start(&tables{of: map[cluster.Family]*table{cluster.IPv4: newTable(), cluster.IPv6: newTable()}}, generation)
	for i, op := range ops {
		if err := t.add(i, op); err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
	}
	t.dropChain(-1, cluster.IPv4, "none")
	t.finish()
	failed, err := b.socket.Transact(&b.batch)
	if err != nil {
		return err
	}
	if f := failed[0]; f != nil {
		if f.Errno == unix.ERESTART {
			return errStale
		}
		return lacking(f)
	}
	delete(failed, len(t.by)) // the one that must be refused
	if len(failed) == 0 {
		return nil
	}
	first := slices.Min(slices.Collect(maps.Keys(failed)))
	if b.batch.Message(first)[4] == unix.NFT_MSG_NEWTABLE {
		return lacking(failed[first])
	}
	return fmt.Errorf("this kernel's nftables cannot hold %s: %w", ops[t.by[first-1][0]], failed[first])
}

// lacking puts into words what is missing where not even a table can be made.
func lacking(err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("nftables refuses this process: %w (it needs CAP_NET_ADMIN)", err)
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EINVAL), errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err,
		unix.EPROTONOSUPPORT):
		return fmt.Errorf("this kernel has no nftables for IP: %w (module nf_tables, with CONFIG_NF_TABLES_IPV4 and CONFIG_NF_TABLES_IPV6)", err)
	}
	return err
}
