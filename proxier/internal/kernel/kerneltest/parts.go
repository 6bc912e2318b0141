package kerneltest

import (
	"fmt"
	"slices"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// parts: what is read for itself is as it is when all is read, and nothing else is shown.
func (s *suite) parts() {
	s.become(services(0, 8))
	summarize := func(parts dataplane.Parts) (seen dataplane.Summary) {
		s.Helper()
		var err error
		<-s.inNamespace(func() { seen, err = s.reader.Summarize(parts) })
		if err != nil {
			s.Fatal(err)
		}
		return seen
	}
	all := summarize(dataplane.AllParts)
	if all.Parts != dataplane.AllParts || len(all.Servers) == 0 || all.State.Entries.Len() == 0 ||
		len(all.State.Addresses) == 0 {
		s.Fatalf("of all parts, %b are read", all.Parts)
	}
	for part := dataplane.PartSysctls; part <= dataplane.PartServers; part <<= 1 {
		seen := summarize(part)
		if !seen.Parts.Has(part.Complete()) {
			s.Errorf("of parts %b, %b are read", part, seen.Parts)
		}
		want := shown(all, seen.Parts)
		if got := shown(seen, dataplane.AllParts); got != want {
			s.Errorf("parts %b read for themselves are\n%s\nwant\n%s", seen.Parts, got, want)
		}
	}
}

// shown returns what a Summary shows of these parts, and of what was not asked for.
func shown(sum dataplane.Summary, parts dataplane.Parts) string {
	state, from := dataplane.NewState(), sum.State
	rest := ""
	if parts.Has(dataplane.PartSysctls) {
		state.Sysctls = from.Sysctls
	}
	if parts.Has(dataplane.PartAddresses) {
		state.Links, state.Addresses, state.Routes = from.Links, from.Addresses, from.Routes
		rest += fmt.Sprintln(sum.NodeAddresses, sum.Broadcasts)
	} else {
		rest += fmt.Sprintln([]string{}, []string{})
	}
	if parts.Has(dataplane.PartSets) {
		state.Sets, state.Entries = from.Sets, from.Entries
	}
	if parts.Has(dataplane.PartRules) {
		state.Chains, state.Hooks, state.Closed = from.Chains, from.Hooks, from.Closed
	}
	if parts.Has(dataplane.PartServers) {
		var ids []dataplane.VirtualServerID
		for id := range sum.Servers {
			ids = append(ids, id)
		}
		slices.SortFunc(ids, dataplane.VirtualServerID.Compare)
		for _, id := range ids {
			rest += fmt.Sprintln(id, sum.Servers[id])
		}
	}
	return state.Text() + rest
}
