package engine

import (
	"fmt"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// How often the loop asks the kernel what it can report for next to nothing: each time how many virtual servers there
// are, and whether somebody has changed rules; every so many times how many set entries. Then sysctls and sockets are
// read, too, which nobody reports and which takes less than a millisecond.
const (
	glanceEvery = 5 * time.Second
	deepGlance  = 6
)

// glanced is what the kernel reported last, as it is compared with the next time.
type glanced struct {
	known bool
	// servers and entries are how many more the kernel has than the mirror: those of others, as a rule.
	servers, entries surplus
	rules            uint64
}

// surplus is a number that is known or not.
type surplus struct {
	n     int
	known bool
}

// differs reports whether the number is another one than it was before.
func (s surplus) differs(before surplus) bool { return s.known && before.known && s.n != before.n }

// glance asks the kernel about these parts, and returns the parts that are to be looked at.
func (e *Engine) glance(parts dataplane.Parts) (look dataplane.Parts, err error) {
	before := e.glanced
	sample, err := e.recordGlance(parts)
	if err != nil || !before.known {
		return 0, err
	}
	if e.glanced.servers.differs(before.servers) {
		look |= dataplane.AllParts
	}
	if e.glanced.entries.differs(before.entries) {
		look |= dataplane.PartSets
	}
	if e.glanced.rules != before.rules {
		look |= dataplane.PartRules
	}
	if sample == (dataplane.VirtualServerID{}) {
		return look, nil
	}
	v, present, err := e.kernel.VirtualServer(sample)
	if err != nil {
		return look, fmt.Errorf("look at %s: %w", sample, err)
	}
	if !present || !v.Same(e.have.VirtualServers[sample]) {
		look |= dataplane.AllParts
	}
	return look, nil
}

// recordGlance records what the kernel reports now, and returns a virtual server that the kernel does not count, if
// there is one: any of them.
func (e *Engine) recordGlance(parts dataplane.Parts) (sample dataplane.VirtualServerID, err error) {
	seen, err := e.kernel.Glance(parts)
	if err != nil {
		return sample, fmt.Errorf("ask the kernel what it has: %w", err)
	}
	four := 0
	for id := range e.have.VirtualServers {
		switch {
		case id.Addr.Is4() && seen.Servers >= 0:
			four++
		case sample == (dataplane.VirtualServerID{}):
			sample = id
		}
	}
	now := glanced{known: true, entries: e.glanced.entries, rules: seen.Rules}
	if seen.Servers >= 0 {
		now.servers = surplus{seen.Servers - four, true}
	}
	if parts.Has(dataplane.PartSets) && seen.Entries >= 0 {
		now.entries = surplus{seen.Entries - e.have.Entries.Len(), true}
	}
	e.glanced = now
	return sample, nil
}

// glance has looked at what the kernel reports as changed. It returns false when it is not the time yet.
func (l *Loop) glance(now time.Time) bool {
	if l.glances.IsZero() || now.Before(l.glances) {
		return false
	}
	l.glances = now.Add(glanceEvery)
	if l.engine.have == nil || l.engine.starting {
		return true
	}
	parts := dataplane.PartServers | dataplane.PartRules
	if l.count++; l.count%deepGlance == 0 {
		parts |= dataplane.PartSets
		l.audits.want(dataplane.PartSysctls | dataplane.PartSockets)
	}
	l.work.Start(now)
	look, err := l.engine.glance(parts)
	l.work.Stop()
	if err != nil {
		look |= dataplane.AllParts // which says what is the matter
	}
	if look != 0 {
		l.audits.want(look)
	}
	return true
}

// recordSurplus records how many virtual servers and entries the kernel has, after all was brought in line: what is
// more than the mirror has is somebody else's.
func (l *Loop) recordSurplus() {
	if l.engine.have == nil || l.engine.starting || l.glances.IsZero() {
		return
	}
	rules := l.engine.glanced.rules
	if _, err := l.engine.recordGlance(dataplane.PartServers | dataplane.PartSets); err != nil {
		l.engine.glanced.known = false
	} else {
		l.engine.glanced.rules = rules
	}
}
