//go:build kernel

package kernel_test

import (
	"errors"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	ipsets "github.com/ipvs-proxier/ipvs-proxier/ipset/client"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel/kerneltest"
)

// TestFullSets: a full set returns an error for each entry that it refuses. A refusal does not mean that the next entry
// is refused. Linux looks at the total only where the entry's region of 1,024 buckets has had its share of maxelem
// (ip_set_hash_gen.h, mtype_add, Linux 5.6 and later), so that a set with several regions takes more than maxelem, and
// which entries it refuses depends on a seed. It never refuses one before maxelem is reached.
func TestFullSets(t *testing.T) {
	kerneltest.Own(t)
	sets, err := ipsets.New()
	if err != nil {
		t.Fatal(err)
	}
	defer sets.Close()
	for _, hashSize := range []uint32{64, 1024, 8192} {
		const most, offered = 1000, 5000
		set := ipset.Set{Name: "IPVSP-TEST", Type: ipset.HashIP, Family: ipset.IPv4, HashSize: hashSize, MaxElem: most}
		if err := sets.Create(set); err != nil {
			t.Fatal(err)
		}
		entries := make([]ipset.Entry, offered)
		for i := range entries {
			entries[i].Addr = netip.AddrFrom4([4]byte{10, 96, byte(i >> 8), byte(i)})
		}
		var taken, refused []ipset.Entry
		lastTaken, firstRefused := 0, offered
		for i, err := range sets.Add(set.Name, set.Type, entries) {
			switch {
			case err == nil:
				taken, lastTaken = append(taken, entries[i]), i
			case errors.Is(err, unix.ENOSPC):
				refused, firstRefused = append(refused, entries[i]), min(firstRefused, i)
			default:
				t.Fatalf("%s: %v", entries[i].Addr, err)
			}
		}
		held, err := sets.Entries(set)
		if err != nil {
			t.Fatal(err)
		}
		byAddress := func(a, b ipset.Entry) int { return a.Addr.Compare(b.Addr) }
		slices.SortFunc(held, byAddress)
		if !slices.Equal(held, taken) || len(taken) < most || len(refused) == 0 {
			t.Errorf("hash size %d: it says that it has taken %d of %d entries, and holds %d",
				hashSize, len(taken), offered, len(held))
		}
		t.Logf(
			"hash size %d: of %d entries %d were taken, where maxelem is %d; the first that was refused was number %d, the last that was taken %d",
			hashSize, offered, len(taken), most, firstRefused, lastTaken,
		)
		// There is room for those that were refused as soon as the others are gone.
		if err := errors.Join(sets.Delete(set.Name, set.Type, taken)...); err != nil {
			t.Error(err)
		}
		if err := errors.Join(sets.Add(set.Name, set.Type, refused[:min(len(refused), most)])...); err != nil {
			t.Error(err)
		}
		if err := sets.Destroy(set.Name); err != nil {
			t.Fatal(err)
		}
	}
}
