package engine

import (
	"slices"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// taken are the Services of which the kernel took an operation last, and when, while it refuses something of others.
// What it takes after it has refused something says that the refusal is that Service's own.
type taken struct {
	last map[cluster.Name]time.Time
	// since says that what was taken until then is not known.
	since time.Time
}

// takenAtMost is how many Services taken knows. It is as many as must be refused together before one that was taken
// earlier could count.
const takenAtMost = 1024

// note notes what the kernel took in a pass at time now, as long as it refuses something.
func (t *taken) note(now time.Time, o *operations, refused retries) {
	if refused.refused() == 0 {
		*t = taken{}
		return
	}
	if t.last == nil {
		t.last = map[cluster.Name]time.Time{}
	}
	for i, op := range o.ops {
		if name := o.owner(op); name != (cluster.Name{}) && refused[name] == nil && !o.failed(i) {
			t.last[name] = now
		}
	}
	for name := range refused {
		delete(t.last, name)
	}
	if len(t.last) > takenAtMost {
		newest := t.newestFirst()
		for _, beyond := range newest[takenAtMost/2:] {
			delete(t.last, beyond.name)
		}
		t.since = newest[takenAtMost/2].at
	}
}

// outcome is what became last of a Service's operations, and when: of one that is refused, since when it is.
type outcome struct {
	name cluster.Name
	at   time.Time
}

func newestFirst(a, b outcome) int { return b.at.Compare(a.at) }

func (t *taken) newestFirst() []outcome {
	all := make([]outcome, 0, len(t.last))
	for name, at := range t.last {
		all = append(all, outcome{name, at})
	}
	slices.SortFunc(all, newestFirst)
	return all
}

// mostRefused reports whether there is a moment since when it must be the node that refuses, and not what some Services
// ask for: of the Services that came to the kernel since, half are refused, two at least; and of their namespaces, half
// have one that is. A namespace alone does not do: whoever may write there could have all nodes leave their load
// balancers. It does where no other namespace is served (alone), as then there is nobody else to be harmed.
func (rs retries) mostRefused(t *taken, alone func() bool) bool {
	var refused []outcome
	for name, r := range rs {
		if name != (cluster.Name{}) && r.began.After(t.since) {
			refused = append(refused, outcome{name, r.began})
		}
	}
	if len(refused) < 2 {
		return false
	}
	slices.SortFunc(refused, newestFirst)
	others, took := t.newestFirst(), 0
	refusing, taking := map[string]bool{}, map[string]bool{}
	only := 0 // namespaces of which everything was taken
	for i, one := range refused {
		for ; took < len(others) && !others[took].at.Before(one.at); took++ {
			if in := others[took].name.Namespace; !taking[in] {
				taking[in] = true
				if !refusing[in] {
					only++
				}
			}
		}
		if in := one.name.Namespace; !refusing[in] {
			refusing[in] = true
			if taking[in] {
				only--
			}
		}
		if i > 0 && i+1 >= took && len(refusing) >= only && (len(refusing) > 1 || alone()) {
			return true
		}
	}
	return false
}

// oneNamespace reports whether all Services that are served are of one namespace.
func (e *Engine) oneNamespace() bool {
	first, found := "", false
	for name := range e.services {
		if found && name.Namespace != first {
			return false
		}
		first, found = name.Namespace, true
	}
	return true
}
