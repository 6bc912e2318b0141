package engine

import (
	"cmp"
	"slices"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// A pass looks at no more Services than passLimit, with 5 endpoints each some 2,000 messages, and at fewer when they
// take longer than passLong: a change may have to wait for the pass before its own. How long an operation takes depends
// on the kernel, on the scheduler (a table of mh), and on how many real servers were deleted of late. During a start it
// may take passLongStart, and longer rather than look at fewer than passLeastStart: few changes wait then, and all of
// the cluster does, and each pass has system calls of its own.
const (
	passLimit      = 256
	passLeast      = 16
	passLeastStart = 128
	passLong       = 40 * time.Millisecond
	passLongStart  = 100 * time.Millisecond
)

// backlog are Services that are to be looked at when there is room: all of them after a start or a change of the node,
// the rest of a great many that changed at once. What changes meanwhile goes ahead of them.
type backlog struct {
	limit  int // of a pass
	most   int // the limit when nothing takes long
	queue  []cluster.Name
	queued map[cluster.Name]struct{}
	// back are those that were put back.
	back []cluster.Name
}

// add puts Services at the end. One that waits already keeps its place.
func (b *backlog) add(names ...cluster.Name) {
	if b.queued == nil && len(names) > 0 {
		b.queued, b.queue = make(map[cluster.Name]struct{}, len(names)), slices.Grow(b.queue, len(names))
	}
	for _, name := range names {
		if b.has(name) {
			continue
		}
		b.queued[name] = struct{}{}
		b.queue = append(b.queue, name)
	}
}

// putBack puts back what next has returned, and the pass had no room for. They come first with the next pass.
func (b *backlog) putBack(names []cluster.Name) {
	if b.queued == nil {
		b.queued = map[cluster.Name]struct{}{}
	}
	b.back = names
	for _, name := range names {
		b.queued[name] = struct{}{}
	}
}

func (b *backlog) has(name cluster.Name) bool {
	_, waits := b.queued[name]
	return waits
}

func (b *backlog) len() int { return len(b.queued) }

// next returns what the next pass looks at: first what was put back, then what has just changed, but at least a quarter
// of those that wait, so that they are not kept out for ever. What does not fit waits. The names are in the order in
// which they are to be looked at.
func (b *backlog) next(changed []cluster.Name) (now map[cluster.Name]struct{}, names []cluster.Name) {
	now = map[cluster.Name]struct{}{}
	first := b.back
	for _, name := range first {
		now[name] = struct{}{}
		delete(b.queued, name)
	}
	b.back = nil
	room := b.limit
	if b.len() > 0 {
		room -= min(b.len(), max(1, b.limit/4))
	}
	for _, name := range changed {
		if _, already := now[name]; already {
			continue
		}
		if len(now) >= room {
			b.add(name)
			continue
		}
		now[name] = struct{}{}
		delete(b.queued, name)
	}
	at := 0
	for ; at < len(b.queue) && len(now) < b.limit; at++ {
		if name := b.queue[at]; b.has(name) {
			now[name] = struct{}{}
			delete(b.queued, name)
		}
	}
	if b.queue = b.queue[at:]; b.len() == 0 {
		*b = backlog{limit: b.limit, most: b.most}
	}
	back := make(map[cluster.Name]struct{}, len(first))
	for _, name := range first {
		back[name] = struct{}{}
	}
	for name := range now {
		if _, is := back[name]; !is {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, cluster.Name.Compare)
	return now, append(first, names...)
}

// took records how long a pass took that looked at so many Services.
func (b *backlog) took(services int, d time.Duration, starting bool) {
	long, least := passLong, passLeast
	if starting {
		long, least = passLongStart, passLeastStart
	}
	switch {
	case d > long && services > least:
		b.limit = max(min(b.limit, services)/2, least)
	case d < long/4 && services >= b.limit:
		b.limit = min(2*b.limit, b.most)
	}
}

// urgentFirst sorts Services: the API's own, then those of the system, among which is DNS, then all others. Nothing in
// the cluster works without the first two (kubernetes#133773).
func urgentFirst(names []cluster.Name) {
	rank := func(n cluster.Name) int {
		switch {
		case n == cluster.Name{Namespace: "default", Name: "kubernetes"}:
			return 0
		case n.Namespace == "kube-system":
			return 1
		}
		return 2
	}
	slices.SortFunc(names, func(a, b cluster.Name) int { return cmp.Or(rank(a)-rank(b), a.Compare(b)) })
}
