package observe

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/annotation"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/engine"
)

// State is how something in the kernel compares with what is wanted.
type State string

// The states. Draining and Starting are as they should be: a real server that leaves has weight 0 until its connections
// end, and one with a slow start has a part of its weight. Unknown is where the kernel could not be read, or is not to
// have it.
const (
	OK       State = "ok"
	Missing  State = "missing"
	Extra    State = "extra"
	Differs  State = "differs"
	Draining State = "draining"
	Starting State = "starting"
	Unknown  State = "unknown"
)

// wrong reports whether somebody has to do something about it.
func (s State) wrong() bool { return s == Missing || s == Extra || s == Differs }

// differences counts what is not as it is wanted.
func (s ServiceStatus) differences() (n int) {
	for _, f := range s.FrontEnds {
		if f.State.wrong() {
			n++
		}
		for _, r := range f.RealServers {
			if r.State.wrong() {
				n++
			}
		}
	}
	return n
}

// Wrong reports whether something is wrong with the Service, be it its own mistake or the node's.
func (s ServiceStatus) Wrong() bool {
	return len(s.Problems)+len(s.Errors)+s.differences() > 0 ||
		slices.ContainsFunc(s.FrontEnds, func(f FrontEndStatus) bool { return !f.Programmed })
}

// Only returns the Status as it would be of that Service alone, with the verdict on it; "" is all of them.
func (s Status) Only(service string) Status {
	if service == "" {
		return s
	}
	s.Differences = 0
	s.Services = slices.DeleteFunc(slices.Clone(s.Services),
		func(one ServiceStatus) bool { return one.Namespace+"/"+one.Name != service })
	for _, one := range s.Services {
		s.Differences += one.differences()
	}
	s.setVerdict()
	return s
}

// setVerdict writes the verdict: the worst that there is, or that all is right.
func (s *Status) setVerdict() {
	unserved, mistaken := 0, 0
	for _, service := range s.Services {
		if slices.ContainsFunc(service.FrontEnds, func(f FrontEndStatus) bool { return !f.Programmed }) {
			unserved++
		}
		if len(service.Problems) > 0 {
			mistaken++
		}
	}
	s.Wrong = true
	if s.Frozen != nil {
		s.setFrozenVerdict()
		return
	}
	switch {
	case s.LastPass.IsZero():
		s.Verdict = "starting: the first sync is not done"
	case !s.Healthy:
		s.Verdict = "NOT HEALTHY: something could not be programmed, and is tried again"
	case s.Contested > 0:
		s.Verdict = "CONTESTED: " + s.contested
	case s.Differences > 0:
		s.Verdict = fmt.Sprintf("DRIFT: %s in the kernel not as wanted; the next audit repairs it",
			many(s.Differences, "object is", "objects are"))
	case s.APIUnreachable != "" || len(s.APIRefusals) > 0:
		s.Verdict = "NO API: what is programmed stays, and gets old"
	case len(s.Unready) > 0:
		s.Verdict = "NOT READY: " + s.Unready[0]
	case len(s.Errors) > 0 || len(s.Manifests) > 0:
		s.Verdict = "the kernel is in line, but something went wrong: see below"
	case unserved > 0:
		s.Verdict = many(unserved, "Service has", "Services have") + " addresses that are not served here: see below"
	case mistaken > 0 || len(s.NodeProblems) > 0:
		var what []string
		if mistaken > 0 {
			what = append(what, many(mistaken, "Service asks", "Services ask")+" for what cannot be done")
		}
		if n := len(s.NodeProblems); n > 0 {
			what = append(what, "the node has "+many(n, "problem", "problems"))
		}
		s.Verdict = "the kernel is in line; " + strings.Join(what, ", ") + ": see below"
	default:
		s.Wrong, s.Verdict = false, "all is right: the kernel holds what is wanted"
	}
}

// many counts in words.
func many(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

var errNotCounted = errors.New("connections cannot be counted")

func newFrontEndStatus(f engine.FrontEndRow, counter ConnectionCounter) FrontEndStatus {
	id, config := f.Front.ID, f.Front.VirtualServer
	s := FrontEndStatus{
		Kind: f.Front.Kind.String(), Protocol: id.Protocol.String(), Address: netip.AddrPortFrom(id.Addr, id.Port).String(),
		Port:     f.Port.Name,
		Settings: NewSettingStatus(f.Port.Settings), Flags: config.Flags.String(), Affinity: config.Timeout,
		Programmed: f.Programmed && f.LostTo == nil, LostTo: f.Winner().String(), NoLocal: f.Front.NoLocal,
		RealServers: []RealServerStatus{}, State: Unknown,
	}
	for _, setting := range f.Port.Settings {
		if setting.Key == annotation.Scheduler {
			s.Scheduler, s.Source = setting.Value, setting.Source
		}
	}
	if !s.Programmed {
		return s
	}
	var seen dataplane.VirtualServer
	var present bool
	var counts []dataplane.Connections
	err := errNotCounted
	if counter != nil {
		seen, present, counts, err = counter.VirtualServer(id)
	}
	if err != nil { // what is wanted is better than nothing
		for _, rs := range config.RealServers {
			s.RealServers = append(s.RealServers,
				RealServerStatus{Address: address(rs), Weight: rs.Weight, Wanted: true, State: Unknown})
		}
		return s
	}
	s.compare(f.Front, seen, present, counts)
	return s
}

func address(r dataplane.RealServer) string { return netip.AddrPortFrom(r.Addr, r.Port).String() }

// compare fills in what the kernel has, and how it compares with what is wanted.
func (s *FrontEndStatus) compare(
	front *dataplane.FrontEnd, seen dataplane.VirtualServer, present bool, counts []dataplane.Connections,
) {
	config := front.VirtualServer
	switch s.Differs = differing(config, seen); {
	case !present:
		s.State, s.Differs = Missing, ""
		return // the real servers have gone with it
	case s.Differs != "":
		s.State = Differs
	default:
		s.State = OK
	}
	s.Digest = dataplane.TableDigest(config, seen.RealServers)
	wanted := map[netip.AddrPort]dataplane.RealServer{}
	for _, r := range config.RealServers {
		wanted[netip.AddrPortFrom(r.Addr, r.Port)] = r
	}
	for i, r := range seen.RealServers {
		at := netip.AddrPortFrom(r.Addr, r.Port)
		want, is := wanted[at]
		delete(wanted, at)
		row := RealServerStatus{Address: at.String(), Weight: r.Weight, Wanted: is, Ceiling: r.Upper}
		row.State, row.Differs = compareRealServer(want, is, r, front.SlowStart > 0)
		if i < len(counts) {
			row.Active, row.Inactive = counts[i].Active, counts[i].Inactive
		}
		s.RealServers = append(s.RealServers, row)
	}
	for at, r := range wanted {
		s.RealServers = append(s.RealServers, RealServerStatus{
			Address: at.String(), Wanted: true, State: Missing, Differs: fmt.Sprintf("want weight %d", r.Weight),
		})
	}
	slices.SortFunc(s.RealServers, func(a, b RealServerStatus) int { return strings.Compare(a.Address, b.Address) })
}

// differing says what of the virtual server itself is not as it is wanted, "" for nothing.
func differing(want, seen dataplane.VirtualServer) string {
	var words []string
	add := func(what string, seen, want any) {
		if seen != want {
			words = append(words, fmt.Sprintf("%s %v, want %v", what, seen, want))
		}
	}
	add("scheduler", seen.Scheduler, want.Scheduler)
	add("flags", seen.Flags.String(), want.Flags.String())
	add("affinity in seconds", seen.Timeout, want.Timeout)
	add("one-packet", seen.OnePacket, want.OnePacket)
	return strings.Join(words, "; ")
}

// compareRealServer says how a real server of the kernel's compares with the wanted one.
func compareRealServer(
	want dataplane.RealServer, wanted bool, seen dataplane.RealServer, slowStart bool,
) (State, string) {
	switch {
	case !wanted && seen.Weight == 0:
		return Draining, ""
	case !wanted:
		return Extra, ""
	case seen.Foreign:
		return Differs, "another forwarding method than NAT"
	case seen.Upper != want.Upper || seen.Lower != want.Lower:
		return Differs, fmt.Sprintf("ceiling %d/%d, want %d/%d", seen.Upper, seen.Lower, want.Upper, want.Lower)
	case slowStart && 0 < seen.Weight && seen.Weight < want.Weight:
		return Starting, fmt.Sprintf("on its way to weight %d", want.Weight)
	case seen.Weight != want.Weight:
		return Differs, fmt.Sprintf("weight %d, want %d", seen.Weight, want.Weight)
	}
	return OK, ""
}
