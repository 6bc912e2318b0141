// Package threeway compares what Services want by the API, what the daemon has in memory, and what the kernel holds,
// and says of each object in which of the three it is another. It is pure: who reads the three is the caller.
package threeway

import (
	"slices"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// Side is one of the three. A nil Listing is one that could not be read.
type Side = dataplane.Listing

// Row is an object that is not the same on all sides.
type Row struct {
	// Object is its kind and name, such as "virtual-server tcp 10.96.0.10:80".
	Object string `json:"object"`
	// API, Memory and Kernel are what it is set to there, in words; nil is that it is not there, or not known because
	// that side could not be read.
	API    *string `json:"api"`
	Memory *string `json:"memory"`
	Kernel *string `json:"kernel"`
	// Behind is which side is behind.
	Behind Behind `json:"behind"`
}

// Behind says which side is not as the one before it.
type Behind string

// Kernel: the daemon wants what the API wants, and the kernel holds something else. Memory: the daemon has not taken
// over what the API wants, or could not program it, and the kernel is as the daemon knows it. Both: all three differ,
// or the kernel is as the API wants it and the daemon does not know that.
const (
	Kernel Behind = "kernel"
	Memory Behind = "memory"
	Both   Behind = "both"
)

// Compare returns the objects that differ between the sides that are known, sorted by Behind (kernel, memory, both) and
// then by name. A real server of weight 0 that memory and kernel have, and the API has no more, is no difference: it
// stays until its connections end.
func Compare(api, memory, kernel Side) []Row {
	var rows []Row
	seen := map[string]bool{}
	for _, side := range []Side{api, memory, kernel} {
		for object := range side {
			if seen[object] {
				continue
			}
			seen[object] = true
			if row, differs := compare(object, api, memory, kernel); differs {
				rows = append(rows, row)
			}
		}
	}
	slices.SortFunc(rows, func(a, b Row) int {
		if a.Behind != b.Behind {
			return order(a.Behind) - order(b.Behind)
		}
		return strings.Compare(a.Object, b.Object)
	})
	return rows
}

func order(b Behind) int { return slices.Index([]Behind{Kernel, Memory, Both}, b) }

func compare(object string, api, memory, kernel Side) (Row, bool) {
	row := Row{Object: object, API: in(api, object), Memory: in(memory, object), Kernel: in(kernel, object)}
	apiMemory := api == nil || memory == nil || same(row.API, row.Memory)
	memoryKernel := memory == nil || kernel == nil || same(row.Memory, row.Kernel)
	apiKernel := api == nil || kernel == nil || same(row.API, row.Kernel)
	switch {
	case apiMemory && memoryKernel && apiKernel, memoryKernel && drains(row):
		return row, false
	case apiMemory:
		row.Behind = Kernel
	case memoryKernel:
		row.Behind = Memory
	default:
		row.Behind = Both
	}
	return row, true
}

// drains reports whether it is a real server that leaves.
func drains(r Row) bool {
	last := r.Kernel
	if last == nil {
		last = r.Memory
	}
	return r.API == nil && last != nil && strings.HasPrefix(r.Object, dataplane.KindRealServer.String()+" ") &&
		(*last == "weight 0" || strings.HasPrefix(*last, "weight 0 "))
}

func in(side Side, object string) *string {
	if value, is := side[object]; is {
		return &value
	}
	return nil
}

func same(a, b *string) bool { return (a == nil) == (b == nil) && (a == nil || *a == *b) }

// Stay returns the rows of now whose object was another one before as well, with the same side behind: what differed
// once only was a change on its way.
func Stay(before, now []Row) []Row {
	was := map[string]Behind{}
	for _, row := range before {
		was[row.Object] = row.Behind
	}
	return slices.DeleteFunc(slices.Clone(now), func(row Row) bool { return was[row.Object] != row.Behind })
}
