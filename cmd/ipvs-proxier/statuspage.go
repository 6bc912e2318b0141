package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier"
)

// statusPage prints what there is to say of one Service: by port its ways in and its endpoints, with the reason where
// one gets no new connections; then its settings, and what is wrong.
func statusPage(s screen, status proxier.Status, now time.Time) {
	service := status.Services[0]
	s.say(verdictColour(status), "  ", "Service "+service.Namespace+"/"+service.Name+" on node "+status.Node+": "+
		verdict(status))
	s.say(0, "    ", "  what is wanted changed "+age(now.Sub(service.Changed))+" ago"+policies(service.Detail))
	if d := service.Detail; d != nil {
		if len(d.SourceRanges) > 0 {
			s.say(0, "    ", "  load balancers let in only clients of "+strings.Join(d.SourceRanges, ", "))
		}
		if d.HealthCheckNodePort != 0 {
			s.say(0, "    ", fmt.Sprintf("  health check node port %d", d.HealthCheckNodePort))
		}
	}
	for _, port := range portsOf(service) {
		port.write(s)
	}
	if service.Detail == nil {
		s.say(0, "", "")
		s.say(yellow, "", "This daemon does not say what becomes of each endpoint: it is of an older version, or the Service has just gone.")
	} else {
		unlisted(s, *service.Detail)
	}
	settingsTable(s, service)
	if d := service.Detail; d != nil && len(d.Changes) > 0 {
		fmt.Fprintln(s)
		s.say(0, "", "LAST CHANGES")
		journalTable(s, proxier.Journal{Entries: d.Changes})
	}
	statusFoot(s, status)
}

func policies(d *proxier.ServiceDetail) string {
	if d == nil {
		return ""
	}
	text := "; internalTrafficPolicy " + d.InternalTrafficPolicy
	if d.ExternalTrafficPolicy != "" {
		text += ", externalTrafficPolicy " + d.ExternalTrafficPolicy
	}
	return text
}

// portPage is one port with its front ends and endpoints.
type portPage struct {
	name, protocol string
	fronts         []proxier.FrontEndStatus
	endpoints      []proxier.EndpointStatus
}

func portsOf(service proxier.ServiceStatus) (ports []*portPage) {
	at := func(name, protocol string) *portPage {
		i := slices.IndexFunc(ports, func(p *portPage) bool { return p.name == name && p.protocol == protocol })
		if i < 0 {
			i, ports = len(ports), append(ports, &portPage{name: name, protocol: protocol})
		}
		return ports[i]
	}
	for _, f := range service.FrontEnds {
		port := at(f.Port, f.Protocol)
		port.fronts = append(port.fronts, f)
	}
	if service.Detail == nil {
		return ports
	}
	for _, e := range service.Detail.Endpoints {
		port := at(e.Port, e.Protocol)
		port.endpoints = append(port.endpoints, e)
	}
	return ports
}

func (p *portPage) write(s screen) {
	fmt.Fprintln(s)
	title := "PORT " + cmp.Or(p.name, "without a name") + ", " + p.protocol
	if len(p.fronts) == 0 {
		title += ": no address is served"
	} else {
		title += ": scheduler " + schedulerText(p.fronts[0]) + " (" + p.fronts[0].Source + ")"
	}
	s.say(0, "  ", title)
	ways := &grid{}
	if len(p.fronts) > 0 {
		ways.add(row{cells: []string{"  WAY IN", "ADDRESS"}, state: "STATE"})
	}
	for _, f := range p.fronts {
		r := row{cells: []string{"  " + f.Kind, f.Address}}
		r.state, r.colour, r.detail = frontEndState(f)
		if r.state == string(proxier.StateOK) {
			r.detail = unanswered(f)
		}
		ways.add(r)
	}
	ways.write(s)
	if len(p.endpoints) == 0 {
		if len(p.fronts) > 0 {
			s.say(yellow, "  ", "  no EndpointSlice lists an endpoint of this port")
		}
		return
	}
	if endpoints := endpointGrid(p.endpoints, true); endpoints.fits(s) {
		endpoints.write(s)
	} else {
		endpointGrid(p.endpoints, false).write(s)
	}
}

// endpointGrid has a line for each endpoint. Where a node's name does not fit, it stands below.
func endpointGrid(endpoints []proxier.EndpointStatus, nodes bool) *grid {
	zones := slices.ContainsFunc(endpoints, func(e proxier.EndpointStatus) bool { return e.Zone != "" })
	g := &grid{}
	columns := func(first, node, zone string, rest ...string) []string {
		cells := []string{first}
		if nodes {
			cells = append(cells, node)
		}
		if nodes && zones {
			cells = append(cells, zone)
		}
		return append(cells, rest...)
	}
	g.add(row{cells: columns("  ENDPOINT", "NODE", "ZONE", "CONDITION", "WEIGHT", "ACTIVE", "INACTIVE"), state: "STATE"})
	for _, e := range endpoints {
		r := row{cells: columns("  "+e.Address, cmp.Or(e.Node, "-"), cmp.Or(e.Zone, "-"), condition(e),
			strconv.Itoa(int(weightNow(e))), strconv.Itoa(int(e.Active)), strconv.Itoa(int(e.Inactive)))}
		r.state, r.colour = stateWord(e.State, true), stateColour(e.State)
		if r.colour != red && e.State != proxier.StateDraining && len(e.TakesFrom) == 0 {
			r.state, r.colour = "left out", yellow
		}
		r.notes = endpointNotes(e)
		if at := "on " + e.Node + zoneText(e); !nodes && e.Node != "" {
			if len(r.notes) > 0 {
				r.notes[0] = at + "; " + r.notes[0]
			} else {
				r.notes = []string{at}
			}
		}
		g.add(r)
	}
	return g
}

// endpointNotes says where the endpoint's weight comes from, and why the endpoint is left out.
func endpointNotes(e proxier.EndpointStatus) (notes []string) {
	if e.Weight > 1 {
		notes = append(notes, fmt.Sprintf("weight %d: %s", e.Weight, e.WeightSource))
	}
	for _, l := range e.LeftOut {
		of := ""
		if len(e.TakesFrom) > 0 || len(e.LeftOut) > 1 {
			of = " of " + strings.Join(l.FrontEnds, ", ")
		}
		notes = append(notes, "left out"+of+": "+l.Because)
	}
	return notes
}

// weightNow is what the kernel has, where it has the endpoint, else what annotations give it.
func weightNow(e proxier.EndpointStatus) uint32 {
	switch e.State {
	case "", proxier.StateUnknown, proxier.StateMissing:
		return e.Weight
	}
	return e.KernelWeight
}

func zoneText(e proxier.EndpointStatus) string {
	if e.Zone == "" {
		return ""
	}
	return ", zone " + e.Zone
}

// unanswered says which clients of the front end get no connection because there is no endpoint for them, and what they
// get instead; "" where each client has one.
func unanswered(f proxier.FrontEndStatus) string {
	switch {
	case f.NoLocal && len(f.RealServers) == 0:
		return "no endpoint on this node, so clients are refused"
	case f.NoLocal:
		return "no endpoint on this node, so clients outside of the cluster get no answer"
	case len(f.RealServers) == 0:
		return "no endpoint, so clients are refused"
	}
	return ""
}

// condition returns the conditions of an endpoint in a word or two.
func condition(e proxier.EndpointStatus) string {
	switch {
	case e.Slice == "":
		return "gone"
	case e.Terminating && e.Ready:
		return "ready, terminating" // where publishNotReadyAddresses says so
	case e.Terminating && e.Serving:
		return "terminating"
	case e.Terminating:
		return "terminated"
	case e.Ready:
		return "ready"
	}
	return "not ready"
}

func unlisted(s screen, d proxier.ServiceDetail) {
	if len(d.Unlisted) == 0 {
		return
	}
	fmt.Fprintln(s)
	s.say(yellow, "  ", "IN ENDPOINTSLICES, AND FOR NO PORT")
	for _, u := range d.Unlisted {
		what := "all of " + u.Slice
		if u.Address != "" {
			what = u.Address + " of " + u.Slice
		}
		s.say(0, noteStart, "  "+what+": "+u.Because)
	}
}

// settingsTable prints each setting with where it comes from. What all ports have alike is said once.
func settingsTable(s screen, service proxier.ServiceStatus) {
	type line struct{ key, value, source string }
	var order []line
	ports := map[line][]string{}
	note := func(port string, settings []proxier.SettingStatus) {
		for _, setting := range settings {
			l := line{setting.Key, cmp.Or(setting.Value, "-"), setting.Source}
			if _, known := ports[l]; !known {
				order = append(order, l)
			}
			if !slices.Contains(ports[l], port) {
				ports[l] = append(ports[l], port)
			}
		}
	}
	all := map[string]bool{}
	for _, f := range service.FrontEnds {
		all[f.Port] = true
		note(f.Port, f.Settings)
	}
	note("", service.Settings)
	if len(order) == 0 {
		return
	}
	slices.SortStableFunc(order, func(a, b line) int { return strings.Compare(a.key, b.key) })
	fmt.Fprintln(s)
	g := &grid{}
	g.add(row{cells: []string{"SETTING", "VALUE", "FROM"}})
	for _, l := range order {
		source := l.source
		if named := ports[l]; len(all) > 1 && len(named) < len(all) && named[0] != "" {
			source += ", port " + strings.Join(named, ", ")
		}
		g.add(row{cells: []string{l.key, l.value, source}})
	}
	g.write(s)
}
