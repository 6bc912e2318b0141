package nftables

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/internal/netlink"
	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// tables is what is in our tables, but for the entries of sets.
type tables struct {
	of map[cluster.Family]*table
}

// table is one of them.
type table struct {
	present bool
	// dormant is a table whose rules somebody has switched off.
	dormant bool
	sets    map[string]ipset.Set
	// lengths are those of networks for which the rules that ask a set are written; nil where they are not known.
	lengths map[string]lengths
	listed  map[string]chainOf
	// chains and bases are what is understood of them; odd are base chains that are not where they belong.
	chains map[dataplane.ChainID]dataplane.Chain
	bases  map[base]map[dataplane.Hook]struct{}
	odd    map[base]bool
}

func newTable() *table {
	return &table{
		sets: map[string]ipset.Set{}, lengths: map[string]lengths{}, listed: map[string]chainOf{},
		chains: map[dataplane.ChainID]dataplane.Chain{}, bases: map[base]map[dataplane.Hook]struct{}{}, odd: map[base]bool{},
	}
}

func (t *tables) clone() *tables {
	other := &tables{of: map[cluster.Family]*table{}}
	for family, from := range t.of {
		to := *from
		to.sets, to.lengths, to.listed = maps.Clone(from.sets), maps.Clone(from.lengths), maps.Clone(from.listed)
		to.chains, to.odd, to.bases = maps.Clone(from.chains), maps.Clone(from.odd), map[base]map[dataplane.Hook]struct{}{}
		for b, hooks := range from.bases {
			to.bases[b] = maps.Clone(hooks)
		}
		other.of[family] = &to
	}
	return other
}

func (t *table) encoder(family cluster.Family, id dataplane.ChainID) encoder {
	types := make(map[string]ipset.Type, len(t.sets))
	for name, set := range t.sets {
		types[name] = set.Type
	}
	return encoder{family: family, chain: id, types: types}
}

// dumpTries is how often a list is read again that somebody has changed meanwhile.
const dumpTries = 10

// generation returns the number of the ruleset, which grows by one with each change of anybody's.
func (b *Backend) generation() (uint32, error) {
	b.batch.Reset()
	b.begin(unix.NFT_MSG_GETGEN, 0, 0)
	b.batch.End()
	answer, err := b.socket.Ask(&b.batch)
	if err != nil {
		return 0, fmt.Errorf("read the generation of nftables: %w", err)
	}
	var generation uint32
	netlink.Attributes(answer[min(4, len(answer)):], func(attr uint16, value []byte) {
		if attr == unix.NFTA_GEN_ID {
			generation = netlink.Uint32BE(value)
		}
	})
	return generation, nil
}

// dump lists objects, and lists them again if the generation has changed meanwhile: for elements the kernel does not
// report that.
func (b *Backend) dump(
	message uint16, family cluster.Family, attrs func(), reset func(), each func(payload []byte),
) error {
	return b.dumpWhole(message, family, attrs, reset, each, func() bool { return true })
}

// dumpWhole is dump for what the kernel may list in part: whole reports whether what was listed is all.
func (b *Backend) dumpWhole(
	message uint16, family cluster.Family, attrs func(), reset func(), each func(payload []byte), whole func() bool,
) error {
	before, err := b.generation()
	for try := range dumpTries {
		if err != nil {
			return err
		}
		if try > 0 {
			time.Sleep(time.Millisecond << try)
		}
		b.batch.Reset()
		b.begin(message, 0, family)
		if attrs != nil {
			attrs()
		}
		b.batch.End()
		if err := b.socket.Dump(&b.batch, reset, each); err != nil {
			return err
		}
		var after uint32
		if after, err = b.generation(); err == nil && after == before && whole() {
			return nil
		}
		before = after
	}
	return errors.Join(err, fmt.Errorf("nftables changes all the time: %w", unix.EINTR))
}

// load reads all but the entries.
func (b *Backend) load() (*tables, error) {
	all := &tables{of: map[cluster.Family]*table{}}
	for _, family := range families {
		t := newTable()
		all.of[family] = t
		if err := b.loadTable(family, t); err != nil {
			return nil, fmt.Errorf("list table %s of %s: %w", Table, family, err)
		}
	}
	return all, nil
}

func (b *Backend) loadTable(family cluster.Family, t *table) error {
	b.batch.Reset()
	b.begin(unix.NFT_MSG_GETTABLE, 0, family)
	b.batch.String(unix.NFTA_TABLE_NAME, Table)
	b.batch.End()
	answer, err := b.socket.Ask(&b.batch)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	t.present = true
	netlink.Attributes(answer[min(4, len(answer)):], func(attr uint16, value []byte) {
		if attr == unix.NFTA_TABLE_FLAGS {
			t.dormant = netlink.Uint32BE(value)&unix.NFT_TABLE_F_DORMANT != 0
		}
	})
	err = b.dump(unix.NFT_MSG_GETSET, family, func() { b.batch.String(unix.NFTA_SET_TABLE, Table) },
		func() { clear(t.sets) }, func(payload []byte) {
			if set := parseSet(family, payload); set.Name != "" && tableOf(payload, unix.NFTA_SET_TABLE) == Table {
				t.sets[set.Name] = set
			}
		})
	if err != nil {
		return err
	}
	rules := map[string][]kernelRule{}
	err = b.dump(unix.NFT_MSG_GETRULE, family, func() { b.batch.String(unix.NFTA_RULE_TABLE, Table) },
		func() { clear(rules) }, func(payload []byte) {
			if table, chain, r := parseKernelRule(payload); table == Table {
				rules[chain] = append(rules[chain], r)
			}
		})
	if err != nil {
		return err
	}
	return b.loadChains(family, t, rules)
}

func tableOf(payload []byte, kind uint16) (name string) {
	netlink.Attributes(payload[min(4, len(payload)):], func(attr uint16, value []byte) {
		if attr == kind {
			name = text(value)
		}
	})
	return name
}

func (b *Backend) loadChains(family cluster.Family, t *table, rules map[string][]kernelRule) error {
	var names []string
	at := map[string]place{}
	err := b.dump(unix.NFT_MSG_GETCHAIN, family, nil, func() { names = nil }, func(payload []byte) {
		table, name, p := parseChain(payload)
		if table == Table {
			names = append(names, name)
			at[name] = p
		}
	})
	if err != nil {
		return err
	}
	for _, name := range names {
		if b, is := baseNamed(name); is {
			t.bases[b] = t.encoder(family, dataplane.ChainID{Family: family, Table: b.table}).readHooks(b, rules[name])
			t.odd[b] = at[name] != places[b]
			continue
		}
		id, is := parseChainName(family, name)
		if !is || slices.Contains([]byte(id.Name), '.') {
			continue
		}
		listed := chainOf{main: rules[name], beside: map[string][]kernelRule{}}
		for i := range rules[name] {
			beside := besideName(id, i)
			if slices.Contains(names, beside) {
				listed.beside[beside] = rules[beside]
			}
		}
		t.listed[name] = listed
	}
	return nil
}

// understand reads the chains that are listed. held are the lengths that are in a set.
func (t *table) understand(family cluster.Family, held func(set string) lengths) {
	clear(t.chains)
	for name, listed := range t.listed {
		id, _ := parseChainName(family, name)
		t.chains[id] = t.encoder(family, id).read(id, listed, held)
	}
}

func parseChain(payload []byte) (table, name string, p place) {
	netlink.Attributes(payload[min(4, len(payload)):], func(attr uint16, value []byte) {
		switch attr {
		case unix.NFTA_CHAIN_TABLE:
			table = text(value)
		case unix.NFTA_CHAIN_NAME:
			name = text(value)
		case unix.NFTA_CHAIN_TYPE:
			p.kind += text(value)
		case unix.NFTA_CHAIN_POLICY:
			if netlink.Uint32BE(value) != nfAccept {
				p.kind = "another policy" + p.kind
			}
		case unix.NFTA_CHAIN_HOOK:
			netlink.Attributes(value, func(attr uint16, value []byte) {
				switch attr {
				case unix.NFTA_HOOK_HOOKNUM:
					p.hook = netlink.Uint32BE(value)
				case unix.NFTA_HOOK_PRIORITY:
					p.priority = int32(netlink.Uint32BE(value))
				}
			})
		}
	})
	return table, name, p
}

// entries calls each for the entries of a set, and reset before it begins, and again should it have to begin again.
// each returns false for an entry that it was called for since.
//
// A set that has grown gets a larger table, some time after the transaction, and the generation stays. Between two
// pieces of a list, the kernel goes on after as many elements as it has listed, in the order of the table that is there
// by then (nft_rhash_walk in net/netfilter/nft_set_hash.c, Linux 7.2). So it leaves as many out as it lists twice, and
// an entry that comes twice has the set listed again.
func (b *Backend) entries(family cluster.Family, set ipset.Set, reset func(), each func(ipset.Entry) bool) error {
	again := 0
	attrs := func() {
		b.batch.String(unix.NFTA_SET_ELEM_LIST_TABLE, Table)
		b.batch.String(unix.NFTA_SET_ELEM_LIST_SET, set.Name)
	}
	restart := func() {
		again = 0
		reset()
	}
	whole := func() bool { return again == 0 }
	err := b.dumpWhole(unix.NFT_MSG_GETSETELEM, family, attrs, restart, func(payload []byte) {
		netlink.Attributes(payload[min(4, len(payload)):], func(attr uint16, value []byte) {
			if attr != unix.NFTA_SET_ELEM_LIST_ELEMENTS {
				return
			}
			netlink.Attributes(value, func(_ uint16, element []byte) {
				netlink.Attributes(element, func(attr uint16, value []byte) {
					if attr == unix.NFTA_SET_ELEM_KEY {
						netlink.Attributes(value, func(_ uint16, key []byte) {
							if e, ok := parseKey(set, key); ok && !each(e) {
								again++
							}
						})
					}
				})
			})
		})
	}, whole)
	if err != nil {
		return fmt.Errorf("list entries of set %s: %w", set.Name, err)
	}
	return nil
}
