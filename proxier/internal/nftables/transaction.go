package nftables

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

const (
	// maxElements and maxElementBytes are the most that one list of elements has. The length of a list has 16 bits, and
	// the kernel takes what goes beyond for a shorter one.
	maxElements     = 1000
	maxElementBytes = 60_000
)

// transaction is a batch under construction: what it makes of the tables, and on whose behalf each message is.
type transaction struct {
	b   *Backend
	now *tables
	// by are the operations, by their places, of each message but the first.
	by [][]int
	// list is the list of elements that is open.
	list struct {
		open        bool
		verb        dataplane.Verb
		set         string
		nest, count int
	}
	// emptied are tables from which something was taken.
	emptied map[cluster.Family]bool
}

func (b *Backend) begin(message, flags uint16, family cluster.Family) {
	b.batch.Begin(unix.NFNL_SUBSYS_NFTABLES<<8|message, flags)
	b.batch.Raw(byte(family), unix.NFNETLINK_V0, 0, 0) // struct nfgenmsg
}

// start begins a transaction for the generation.
func (b *Backend) start(now *tables, generation uint32) *transaction {
	b.batch.Reset()
	b.batch.Begin(unix.NFNL_MSG_BATCH_BEGIN, 0)
	b.batch.Raw(0, unix.NFNETLINK_V0, 0, unix.NFNL_SUBSYS_NFTABLES) // the subsystem, in network byte order
	b.batch.Uint32BE(unix.NFNL_BATCH_GENID, generation)
	b.batch.End()
	return &transaction{b: b, now: now, emptied: map[cluster.Family]bool{}}
}

// message begins a message on behalf of operation i.
func (t *transaction) message(i int, kind, flags uint16, family cluster.Family) {
	t.closeList()
	t.b.begin(kind, flags, family)
	t.by = append(t.by, []int{i})
}

func (t *transaction) closeList() {
	if t.list.open {
		t.b.batch.EndNest(t.list.nest)
		t.b.batch.End()
		t.list.open = false
	}
}

// table makes the family's table if it is not there, and wakes it where somebody has switched it off.
func (t *transaction) table(i int, family cluster.Family) *table {
	table := t.now.of[family]
	if !table.present || table.dormant {
		t.message(i, unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, family)
		t.b.batch.String(unix.NFTA_TABLE_NAME, t.b.table)
		t.b.batch.Uint32BE(unix.NFTA_TABLE_FLAGS, 0)
		t.b.batch.End()
		table.present, table.dormant = true, false
	}
	return table
}

// add adds an operation. An error is what the kernel would say; then nothing is added.
func (t *transaction) add(i int, op dataplane.Op) error {
	gone := op.Verb == dataplane.Delete
	switch o := op.Object.(type) {
	case dataplane.Set:
		return t.set(i, op.Verb, o.Set)
	case dataplane.SetEntry:
		return t.entry(i, op.Verb, o)
	case dataplane.Chain:
		if gone {
			return t.deleteChain(i, o.ID)
		}
		return t.chain(i, o)
	case dataplane.Hook:
		return t.hook(i, op.Verb, o)
	}
	return fmt.Errorf("BUG: operation on unknown object %T", op.Object)
}

func (t *transaction) set(i int, verb dataplane.Verb, set ipset.Set) error {
	family := familyOfSet(set)
	if verb != dataplane.Delete {
		if err := set.Validate(); err != nil {
			return err
		}
	}
	table := t.now.of[family]
	_, there := table.sets[set.Name]
	switch {
	case verb == dataplane.Create && there:
		return unix.EEXIST
	case verb != dataplane.Create && !there:
		return unix.ENOENT
	case verb == dataplane.Update:
		return t.resize(i, family, set)
	case verb != dataplane.Create:
		if chains := t.asking(family, set.Name); len(chains) > 0 {
			return fmt.Errorf("chain %s asks the set: %w", chains[0].Name, unix.EBUSY)
		}
		t.deleteSet(i, family, set.Name)
	}
	if verb != dataplane.Delete {
		t.createSet(i, family, set)
	}
	return nil
}

func (t *transaction) createSet(i int, family cluster.Family, set ipset.Set) {
	table := t.table(i, family)
	kind, size := keyOf(set)
	t.message(i, unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE|unix.NLM_F_EXCL, family)
	b := &t.b.batch
	b.String(unix.NFTA_SET_TABLE, t.b.table)
	b.String(unix.NFTA_SET_NAME, set.Name)
	b.Uint32BE(unix.NFTA_SET_FLAGS, 0)
	b.Uint32BE(unix.NFTA_SET_KEY_TYPE, kind)
	b.Uint32BE(unix.NFTA_SET_KEY_LEN, uint32(size))
	b.Uint32BE(unix.NFTA_SET_ID, uint32(len(t.by)))
	b.Bytes(unix.NFTA_SET_USERDATA, tag(nil, setComment, append([]byte(set.String()), 0)))
	b.End()
	table.sets[set.Name] = set
	table.lengths[set.Name] = make(lengths, lengthsSize)
}

func (t *transaction) deleteSet(i int, family cluster.Family, name string) {
	t.message(i, unix.NFT_MSG_DELSET, 0, family)
	t.b.batch.String(unix.NFTA_SET_TABLE, t.b.table)
	t.b.batch.String(unix.NFTA_SET_NAME, name)
	t.b.batch.End()
	delete(t.now.of[family].sets, name)
	delete(t.now.of[family].lengths, name)
	t.emptied[family] = true
}

// asking returns the chains that ask the set.
func (t *transaction) asking(family cluster.Family, set string) (ids []dataplane.ChainID) {
	for id, chain := range t.now.of[family].chains {
		if slices.Contains(chain.Sets, set) {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b dataplane.ChainID) int { return compareStrings(a.String(), b.String()) })
	return ids
}

func compareStrings(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// resize makes the set anew, with its entries and under the rules that ask it: how many it may have is in its comment,
// which nothing changes. Nobody sees anything of it, since it is one transaction.
func (t *transaction) resize(i int, family cluster.Family, set ipset.Set) error {
	table := t.now.of[family]
	before := table.sets[set.Name]
	if before.Type != set.Type || before.Family != set.Family {
		return fmt.Errorf("there is %s instead: %w", before, unix.EINVAL)
	}
	entries, found := t.b.held[set.Name]
	if !found {
		return errUnread{family, before}
	}
	var asking []dataplane.Chain
	for _, id := range t.asking(family, set.Name) {
		asking = append(asking, table.chains[id])
		t.flush(i, family, chainName(id.Table, id.Name))
		for j := range table.chains[id].Rules {
			if name := besideName(id, j); table.listed[chainName(id.Table, id.Name)].beside[name] != nil {
				t.flush(i, family, name)
			}
		}
	}
	known := table.lengths[set.Name]
	t.deleteSet(i, family, set.Name)
	t.createSet(i, family, set)
	table.lengths[set.Name] = known
	for _, e := range entries {
		if err := t.entry(i, dataplane.Create, dataplane.SetEntry{Set: set.Name, Type: set.Type, Entry: e}); err != nil {
			return err
		}
	}
	for _, chain := range asking {
		if err := t.chain(i, chain); err != nil {
			return err
		}
	}
	return nil
}

// errUnread says that the entries of a set have to be read first.
type errUnread struct {
	family cluster.Family
	set    ipset.Set
}

func (e errUnread) Error() string { return "BUG: the entries of set " + e.set.Name + " are not read" }

func (t *transaction) entry(i int, verb dataplane.Verb, e dataplane.SetEntry) error {
	family := familyOfEntry(e)
	table := t.now.of[family]
	set, there := table.sets[e.Set]
	if !there {
		return fmt.Errorf("there is no set %s: %w", e.Set, unix.ENOENT)
	}
	if err := fits(set, e.Type, e.Entry); err != nil {
		return err
	}
	if verb != dataplane.Delete && hasNet(set.Type) {
		if err := t.lookFor(i, family, set, e.Entry.Bits); err != nil {
			return err
		}
	}
	l := &t.list
	if !l.open || l.verb != verb || l.set != e.Set || l.count == maxElements || t.b.batch.Size()-l.nest > maxElementBytes {
		kind, flags := uint16(unix.NFT_MSG_NEWSETELEM), uint16(unix.NLM_F_CREATE|unix.NLM_F_EXCL)
		if verb == dataplane.Delete {
			kind, flags = unix.NFT_MSG_DELSETELEM, 0
		}
		t.message(i, kind, flags, family)
		t.by[len(t.by)-1] = nil
		t.b.batch.String(unix.NFTA_SET_ELEM_LIST_TABLE, t.b.table)
		t.b.batch.String(unix.NFTA_SET_ELEM_LIST_SET, e.Set)
		l.open, l.verb, l.set, l.count = true, verb, e.Set, 0
		l.nest = t.b.batch.Nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS)
	}
	l.count++
	if by := &t.by[len(t.by)-1]; len(*by) == 0 || (*by)[len(*by)-1] != i {
		*by = append(*by, i)
	}
	b := &t.b.batch
	element := b.Nest(unix.NFTA_LIST_ELEM)
	key := b.Nest(unix.NFTA_SET_ELEM_KEY)
	t.b.key = appendKey(t.b.key[:0], set.Type, e.Entry)
	b.Bytes(unix.NFTA_DATA_VALUE, t.b.key)
	b.EndNest(key)
	b.EndNest(element)
	return nil
}

// lookFor has the rules that ask a set look for networks of a length, before there is the first one of it.
func (t *transaction) lookFor(i int, family cluster.Family, set ipset.Set, length uint8) error {
	table := t.now.of[family]
	if table.lengths[set.Name].has(length) {
		return nil
	}
	table.lengths[set.Name] = table.lengths[set.Name].with(length)
	for _, id := range t.asking(family, set.Name) {
		chain := table.chains[id]
		if slices.ContainsFunc(chain.Rules, func(r dataplane.Rule) bool { return r.Unknown != "" }) {
			continue // a repair writes it as a whole
		}
		if err := t.chain(i, chain); err != nil {
			return err
		}
	}
	return nil
}

func (t *transaction) chain(i int, c dataplane.Chain) error {
	family := c.ID.Family
	table := t.now.of[family]
	e := table.encoder(family, c.ID)
	for _, r := range c.Rules {
		if r.Unknown != "" {
			return fmt.Errorf("a rule of somebody else's cannot be written again (%s): %w", r.Unknown, unix.EINVAL)
		}
	}
	for _, jump := range c.Jumps {
		id := c.ID
		id.Name = jump
		if _, there := table.chains[id]; !there {
			return fmt.Errorf("there is no chain %s: %w", jump, unix.ENOENT)
		}
	}
	encoded, err := e.encode(c, func(set string) lengths { return table.lengths[set] })
	if err != nil {
		return err
	}
	t.table(i, family)
	own := chainName(c.ID.Table, c.ID.Name)
	t.emptyChain(i, family, own)
	for _, name := range slices.Sorted(maps.Keys(encoded.beside)) {
		t.emptyChain(i, family, name)
		for _, r := range encoded.beside[name] {
			t.rule(i, family, name, r)
		}
	}
	for _, r := range encoded.main {
		t.rule(i, family, own, r)
	}
	for _, name := range slices.Sorted(maps.Keys(table.listed[own].beside)) {
		if encoded.beside[name] == nil {
			t.dropChain(i, family, name)
		}
	}
	table.chains[c.ID], table.listed[own] = c, encoded
	return nil
}

// emptyChain makes a chain, or takes all rules out of it.
func (t *transaction) emptyChain(i int, family cluster.Family, name string) {
	t.message(i, unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, family)
	t.b.batch.String(unix.NFTA_CHAIN_TABLE, t.b.table)
	t.b.batch.String(unix.NFTA_CHAIN_NAME, name)
	t.b.batch.End()
	t.flush(i, family, name)
}

func (t *transaction) flush(i int, family cluster.Family, name string) {
	t.message(i, unix.NFT_MSG_DELRULE, 0, family)
	t.b.batch.String(unix.NFTA_RULE_TABLE, t.b.table)
	t.b.batch.String(unix.NFTA_RULE_CHAIN, name)
	t.b.batch.End()
}

func (t *transaction) dropChain(i int, family cluster.Family, name string) {
	t.message(i, unix.NFT_MSG_DELCHAIN, 0, family)
	t.b.batch.String(unix.NFTA_CHAIN_TABLE, t.b.table)
	t.b.batch.String(unix.NFTA_CHAIN_NAME, name)
	t.b.batch.End()
	t.emptied[family] = true
}

func (t *transaction) rule(i int, family cluster.Family, chain string, r kernelRule) {
	t.message(i, unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_APPEND, family)
	b := &t.b.batch
	b.String(unix.NFTA_RULE_TABLE, t.b.table)
	b.String(unix.NFTA_RULE_CHAIN, chain)
	list := b.Nest(unix.NFTA_RULE_EXPRESSIONS)
	write(b, r.exprs)
	b.EndNest(list)
	b.Bytes(unix.NFTA_RULE_USERDATA, r.userdata())
	b.End()
}

// deleteChain deletes a chain. That one is gone is all that counts.
func (t *transaction) deleteChain(i int, id dataplane.ChainID) error {
	table := t.now.of[id.Family]
	if _, there := table.chains[id]; !there {
		return nil
	}
	for other, chain := range table.chains {
		if other != id && other.Table == id.Table && slices.Contains(chain.Jumps, id.Name) {
			return fmt.Errorf("chain %s leads to it: %w", other.Name, unix.EBUSY)
		}
	}
	for _, hooks := range table.bases {
		for h := range hooks {
			if h.Chain == id {
				return fmt.Errorf("hook %s leads to it: %w", h, unix.EBUSY)
			}
		}
	}
	own := chainName(id.Table, id.Name)
	t.dropChain(i, id.Family, own)
	for _, name := range slices.Sorted(maps.Keys(table.listed[own].beside)) {
		t.dropChain(i, id.Family, name)
	}
	delete(table.chains, id)
	delete(table.listed, own)
	return nil
}

// hook writes the whole base chain of a hook.
func (t *transaction) hook(i int, verb dataplane.Verb, h dataplane.Hook) error {
	family, at := h.Chain.Family, baseOf(h)
	where, known := places[at]
	if !known {
		return fmt.Errorf("there is no place for it: %w", unix.EOPNOTSUPP)
	}
	table := t.now.of[family]
	_, there := table.bases[at][h]
	strange := h.Match.Unknown != ""
	switch {
	case verb == dataplane.Delete && !there && !strange:
		return fmt.Errorf("there is no such rule: %w", unix.ENOENT)
	case verb != dataplane.Delete && strange:
		return fmt.Errorf("a rule of somebody else's cannot be written again: %w", unix.EINVAL)
	case verb != dataplane.Delete:
		if _, is := table.chains[h.Chain]; !is {
			return fmt.Errorf("there is no chain %s: %w", h.Chain.Name, unix.ENOENT)
		}
	}
	hooks := map[dataplane.Hook]struct{}{}
	for other := range table.bases[at] {
		if other.Match.Unknown == "" && (other != h || verb != dataplane.Delete) {
			hooks[other] = struct{}{}
		}
	}
	if verb != dataplane.Delete {
		hooks[h] = struct{}{}
	}
	_, made := table.bases[at]
	if made && (table.odd[at] || len(hooks) == 0) {
		t.dropChain(i, family, at.String())
		made = false
	}
	if len(hooks) == 0 {
		delete(table.bases, at)
		delete(table.odd, at)
		return nil
	}
	t.table(i, family)
	if made {
		t.flush(i, family, at.String())
	} else {
		t.baseChain(i, family, at, where)
	}
	table.bases[at], table.odd[at] = hooks, false
	return t.hookRules(i, family, at, hooks)
}

func (t *transaction) baseChain(i int, family cluster.Family, at base, where place) {
	t.message(i, unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, family)
	b := &t.b.batch
	b.String(unix.NFTA_CHAIN_TABLE, t.b.table)
	b.String(unix.NFTA_CHAIN_NAME, at.String())
	nest := b.Nest(unix.NFTA_CHAIN_HOOK)
	b.Uint32BE(unix.NFTA_HOOK_HOOKNUM, where.hook)
	b.Uint32BE(unix.NFTA_HOOK_PRIORITY, uint32(where.priority))
	b.EndNest(nest)
	b.Uint32BE(unix.NFTA_CHAIN_POLICY, nfAccept)
	b.String(unix.NFTA_CHAIN_TYPE, where.kind)
	b.End()
}

func (t *transaction) hookRules(i int, family cluster.Family, at base, hooks map[dataplane.Hook]struct{}) error {
	sorted := slices.SortedFunc(maps.Keys(hooks),
		func(a, b dataplane.Hook) int { return compareStrings(a.String(), b.String()) })
	e := t.now.of[family].encoder(family, dataplane.ChainID{Family: family, Table: at.table})
	for n, h := range sorted {
		rules, err := e.encodeHook(h, n)
		if err != nil {
			return err
		}
		for _, r := range rules {
			t.rule(i, family, at.String(), r)
		}
	}
	return nil
}

// finish deletes tables in which nothing is left, and ends the transaction. It returns false where there is nothing to
// send.
func (t *transaction) finish() bool {
	for _, family := range families {
		table := t.now.of[family]
		if t.emptied[family] && table.present && len(table.sets) == 0 && len(table.chains) == 0 && len(table.bases) == 0 {
			t.message(-1, unix.NFT_MSG_DELTABLE, 0, family)
			t.b.batch.String(unix.NFTA_TABLE_NAME, t.b.table)
			t.b.batch.End()
			table.present = false
		}
	}
	t.closeList()
	if len(t.by) == 0 {
		return false
	}
	t.b.batch.Begin(unix.NFNL_MSG_BATCH_END, 0)
	t.b.batch.Raw(0, unix.NFNETLINK_V0, 0, unix.NFNL_SUBSYS_NFTABLES)
	t.b.batch.End()
	return true
}

var errStale = errors.New("somebody has changed nftables meanwhile")
