package nftables

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/internal/netlink"
	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// Backend writes and reads our tables, in the network namespace of the thread that opened it. One goroutine uses it at
// a time.
type Backend struct {
	socket *netlink.Socket
	batch  netlink.Batch
	key    []byte
	// table is the name of the tables.
	table string
	// known is what is in the tables at a generation.
	known *tables
	at    uint32
	// lengths are those of the networks in sets, as they were written: no set has others, unless somebody has added
	// them.
	lengths map[string]lengths
	// held are entries of sets that have to be written again.
	held map[string][]ipset.Entry
	// transactions counts those that the kernel has taken.
	transactions uint32
	// before is what ObserveChanged has seen; nil where it has not.
	before *remembered
}

// New opens a Backend. It changes nothing.
func New() (*Backend, error) {
	socket, err := netlink.Dial(unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, err
	}
	socket.BriefFailures()
	return &Backend{socket: socket, table: Table, lengths: map[string]lengths{}, held: map[string][]ipset.Entry{}}, nil
}

// Close closes the socket, and leaves the tables as they are.
func (b *Backend) Close() error { return b.socket.Close() }

// Traffic returns the number of messages sent so far, and of the system calls that carried them.
func (b *Backend) Traffic() (messages, sends uint64) { return b.socket.Messages, b.socket.Sends }

// Present reports whether there is a table of ours.
func (b *Backend) Present() bool {
	known, err := b.load()
	return err == nil && (known.of[cluster.IPv4].present || known.of[cluster.IPv6].present)
}

// tries is how often a transaction is made anew for another generation.
const tries = 20

// Apply carries out operations on sets, entries, chains and hooks, in their order, and returns one error or nil for
// each. What the kernel takes of them goes in as one transaction. One that is refused changes nothing: then what is at
// fault is found out and left out, and the others go in as one again.
func (b *Backend) Apply(ops []dataplane.Op) []error {
	errs := make([]error, len(ops))
	left := make([]int, len(ops))
	for i := range ops {
		left[i] = i
	}
	clear(b.held)
	for range tries {
		again, err := b.try(ops, errs, left)
		switch {
		case err == nil && again == nil:
			return errs
		case err == nil:
			left = again
		case errors.Is(err, errStale):
		default:
			b.known = nil
			return all(errs, left, err)
		}
	}
	return all(errs, left, fmt.Errorf("%d transactions came too late (%w): %w", tries, errStale, unix.EAGAIN))
}

func all(errs []error, of []int, err error) []error {
	for _, i := range of {
		errs[i] = err
	}
	return errs
}

// try makes one transaction of the operations that are left. It returns those that are left then; nil when all is done.
func (b *Backend) try(ops []dataplane.Op, errs []error, left []int) (again []int, err error) {
	if err := b.refresh(); err != nil {
		return nil, err
	}
	t := b.start(b.known.clone(), b.at)
	for _, i := range left {
		errs[i] = t.add(i, ops[i])
		var unread errUnread
		if errors.As(errs[i], &unread) {
			if b.held[unread.set.Name], err = b.read(unread.family, unread.set); err != nil {
				return nil, err
			}
			return left, nil
		}
	}
	if !t.finish() {
		return nil, nil
	}
	failed, err := b.socket.Transact(&b.batch)
	switch {
	case err != nil:
		return nil, b.outcome(err)
	case len(failed) == 0:
		b.known, b.at, b.transactions = t.now, b.at+1, b.transactions+1
		clear(b.lengths)
		for _, table := range t.now.of {
			maps.Copy(b.lengths, table.lengths)
		}
		if b.at == 0 { // no generation has this number
			b.at = 1
		}
		return nil, nil
	}
	if whole := failed[0]; whole != nil && whole.Errno == unix.ERESTART {
		b.known = nil
		return nil, errStale
	}
	return b.blame(t, ops, errs, left, failed)
}

// outcome finds out what became of a transaction without an answer: where the generation is as before, it is nothing.
func (b *Backend) outcome(err error) error {
	now, also := b.generation()
	if also == nil && now == b.at {
		return fmt.Errorf("nothing is changed: %w", err)
	}
	return errors.Join(err, also)
}

// blame finds the operations that the kernel has refused, notes it and returns the others.
func (b *Backend) blame(
	t *transaction, ops []dataplane.Op, errs []error, left []int, failed map[int]*netlink.Failure,
) (again []int, err error) {
	b.known = nil // something is otherwise than it was thought to be, or the kernel is full
	guilty := map[int]bool{}
	entries := map[string]bool{}
	for at, f := range failed {
		if at == 0 || at > len(t.by) {
			continue
		}
		by := t.by[at-1]
		object, is := dataplane.SetEntry{}, false
		if len(by) > 0 && by[0] >= 0 {
			object, is = ops[by[0]].Object.(dataplane.SetEntry)
		}
		if is && (f.Errno == unix.EEXIST || f.Errno == unix.ENOENT) {
			entries[object.Set] = true
			continue
		}
		if len(by) == 1 && by[0] >= 0 {
			guilty[by[0]] = true
			errs[by[0]] = f
		}
	}
	if err := b.blameEntries(ops, errs, left, entries, guilty); err != nil {
		return nil, err
	}
	for _, i := range left {
		if errs[i] == nil && !guilty[i] {
			again = append(again, i)
		}
	}
	if len(guilty) == 0 {
		if len(again) <= 1 {
			return nil, failed[slices.Min(slices.Collect(maps.Keys(failed)))]
		}
		return nil, b.oneByOne(ops, errs, again)
	}
	if again == nil {
		again = []int{} // nothing is left, and the next transaction is empty
	}
	return again, nil
}

// blameEntries finds the entries of these sets that are there already, or are not there.
func (b *Backend) blameEntries(
	ops []dataplane.Op, errs []error, left []int, sets map[string]bool, guilty map[int]bool,
) error {
	if len(sets) == 0 {
		return nil
	}
	if err := b.refresh(); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(sets)) {
		present := map[ipset.Entry]bool{}
		for family, table := range b.known.of {
			set, there := table.sets[name]
			if !there {
				continue
			}
			entries, err := b.read(family, set)
			if err != nil {
				return err
			}
			for _, e := range entries {
				present[e] = true
			}
		}
		for _, i := range left {
			e, is := ops[i].Object.(dataplane.SetEntry)
			if !is || e.Set != name || errs[i] != nil {
				continue
			}
			gone := ops[i].Verb == dataplane.Delete
			if present[e.Entry] != gone {
				errs[i] = map[bool]error{true: unix.ENOENT, false: unix.EEXIST}[gone]
				guilty[i] = true
				continue
			}
			present[e.Entry] = !gone
		}
	}
	return nil
}

// oneByOne makes a transaction of each operation, which shows what is at fault with which.
func (b *Backend) oneByOne(ops []dataplane.Op, errs []error, left []int) error {
	clear(b.held)
	for _, i := range left {
		one := b.Apply(ops[i : i+1])
		errs[i] = one[0]
	}
	return nil
}

// refresh reads the tables where somebody has changed nftables since.
func (b *Backend) refresh() error {
	now, err := b.generation()
	if err != nil {
		return err
	}
	for range dumpTries {
		if b.known != nil && b.at == now {
			return nil
		}
		before := now
		known, err := b.load()
		if err != nil {
			return err
		}
		if err := b.learnLengths(known); err != nil {
			return err
		}
		if now, err = b.generation(); err != nil {
			return err
		}
		if now == before {
			b.known, b.at = known, now
		}
	}
	return fmt.Errorf("nftables changes all the time: %w", unix.EINTR)
}

// learnLengths finds out which lengths the networks in sets have. Sets that were written here need not be read.
func (b *Backend) learnLengths(known *tables) error {
	for _, family := range families {
		table := known.of[family]
		for name, set := range table.sets {
			if !hasNet(set.Type) {
				continue
			}
			if written, known := b.lengths[name]; known {
				table.lengths[name] = written
				continue
			}
			entries, err := b.read(family, set)
			if err != nil {
				return err
			}
			held := make(lengths, lengthsSize)
			for _, e := range entries {
				held = held.with(e.Bits)
			}
			table.lengths[name] = held
		}
		table.understand(family, func(set string) lengths { return table.lengths[set] })
	}
	return nil
}

// read returns the entries of a set.
func (b *Backend) read(family cluster.Family, set ipset.Set) ([]ipset.Entry, error) {
	entries := map[ipset.Entry]struct{}{}
	err := b.entries(family, set, func() { clear(entries) }, func(e ipset.Entry) bool {
		before := len(entries)
		entries[e] = struct{}{}
		return len(entries) > before
	})
	return slices.Collect(maps.Keys(entries)), err
}
