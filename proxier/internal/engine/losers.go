package engine

import (
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// A pass looks at loserClaims claims of front ends that another Service has now, and reports of Services as many as
// have loserFrontEnds front ends together, or one that has more. Each takes about two milliseconds.
const (
	loserClaims    = 16384
	loserFrontEnds = 1024
)

// holdLosers is how long Services wait to be reported while a big one changes, of which each piece may bring the same
// ones again.
const holdLosers = time.Second

// losers are Services that are to be reported because another one has won or lost a front end that both want. A Service
// with an address that thousands want has thousands of losers, which want nothing else of the kernel than before.
type losers struct {
	names map[cluster.Name]struct{}
	// left counts front ends whose losers are not among the names yet.
	left int
	// since is when the first one came; the zero time where there is none.
	since time.Time
}

// waiting is how much there is to be done by the passes to come.
func (l *losers) waiting() int { return len(l.names) + l.left }

// reportLosers moves to affected, of which a pass reports all, as many losers as fit into a pass.
func (e *Engine) reportLosers(now time.Time, affected map[cluster.Name]struct{}) {
	l := &e.losers
	l.left = e.want.TakeLosers(loserClaims, l.names)
	for name := range affected { // as it is after this pass
		delete(l.names, name)
	}
	if l.waiting() == 0 {
		l.since = time.Time{}
		return
	}
	if l.since.IsZero() {
		l.since = now
	}
	if l.left+len(e.pieces.queue) > 0 && now.Sub(l.since) < holdLosers {
		return
	}
	taken := 0
	for name := range l.names {
		f, _ := e.want.Fragment(name)
		cost := 1 + len(f.FrontEnds)
		if taken > 0 && taken+cost > loserFrontEnds {
			return
		}
		taken += cost
		affected[name] = struct{}{}
		delete(l.names, name)
	}
	l.since = time.Time{}
}
