package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier"
)

// statusTree prints each Service with its front ends, and their real servers below, so that a line fits on a screen of
// 80 letters.
func statusTree(s screen, status proxier.Status, now time.Time) {
	statusHead(s, status)
	g := &grid{}
	g.add(row{cells: []string{"SERVICE, ADDRESS, REAL SERVER", "WEIGHT", "ACTIVE", "INACTIVE"}, state: "STATE"})
	for _, service := range worstFirst(status.Services) {
		g.add(row{cells: []string{
			service.Namespace + "/" + service.Name, "", "", "",
		}, span: true, state: age(now.Sub(service.Changed))})
		if len(service.FrontEnds) == 0 {
			g.add(row{cells: []string{"  no address is served", "", "", ""}, span: true})
		}
		for _, f := range service.FrontEnds {
			g.add(frontEndRow(f))
			if f.Programmed && f.State != proxier.StateMissing {
				for _, r := range f.RealServers {
					g.add(realServerRow(r))
				}
			}
		}
	}
	g.write(s)
	statusFoot(s, status)
}

func frontEndRow(f proxier.FrontEndStatus) row {
	text := fmt.Sprintf("  %s %s %s, %s", f.Kind, f.Protocol, f.Address, schedulerText(f))
	r := row{cells: []string{text, "", "", ""}, span: true}
	r.state, r.colour, r.detail = frontEndState(f)
	if len(f.RealServers) == 0 && r.state == string(proxier.StateOK) {
		r.detail = unanswered(f)
	}
	return r
}

// frontEndState is the state of the front end itself.
func frontEndState(f proxier.FrontEndStatus) (word string, c colour, detail string) {
	switch {
	case f.LostTo != "":
		return "LOST", red, "to " + f.LostTo
	case !f.Programmed:
		return "NOT PROGRAMMED", red, ""
	}
	return stateWord(f.State, true), stateColour(f.State), f.Differs
}

func realServerRow(r proxier.RealServerStatus) row {
	state := knownState(r)
	return row{
		cells: []string{
			"    " + r.Address, strconv.Itoa(int(r.Weight)), strconv.Itoa(int(r.Active)), strconv.Itoa(int(r.Inactive)),
		},
		state: stateWord(state, r.Wanted), colour: stateColour(state), detail: r.Differs,
	}
}

// knownState is the state of a real server; a daemon of an older version says none.
func knownState(r proxier.RealServerStatus) proxier.State {
	switch {
	case r.State != "":
		return r.State
	case r.Wanted:
		return proxier.StateUnknown
	}
	return proxier.StateDraining
}

// stateWord writes what is wrong in capitals.
func stateWord(state proxier.State, wanted bool) string {
	if stateColour(state) == red {
		return strings.ToUpper(string(state))
	}
	if state == "" && wanted {
		return string(proxier.StateUnknown)
	}
	return string(state)
}

func stateColour(state proxier.State) colour {
	switch state {
	case proxier.StateMissing, proxier.StateExtra, proxier.StateDiffers:
		return red
	case proxier.StateOK:
		return green
	case proxier.StateDraining, proxier.StateStarting:
		return yellow
	}
	return 0
}
