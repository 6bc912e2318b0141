// Package reporttest has reports as they come in practice, and beyond it, for the tests of what shows them.
package reporttest

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/account"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/report"
)

const ms = time.Millisecond

// Hostile is what a server could call itself, if it had its way, to get into the page.
const Hostile = `</title></svg><script>alert(1)</script><img src="http://192.0.2.1/x" onerror='alert(2)'>{{.}}&lt;`

// Sample is a run of ten seconds at 500/s; outcome decides what becomes of each request.
func Sample(endpoints int, outcome func(i int, o *account.Outcome)) *report.Report {
	return runOf(5000, 500, endpoints, outcome)
}

func runOf(requests, perSecond, endpoints int, outcome func(i int, o *account.Outcome)) *report.Report {
	return report.New("v1.2.3", settingsOf(requests, perSecond), resultOf(requests, perSecond, endpoints, outcome))
}

func settingsOf(requests, perSecond int) report.Settings {
	return report.Settings{
		Mode: "crr", Arrivals: "constant", Loop: report.Loop(false), Rate: float64(perSecond),
		Duration: float64(requests) / float64(perSecond),
		Timeout:  5, ConnectionsMax: 10_000, Workers: 1, Close: "fin", Seed: 1, Sources: []string{},
		Targets: []string{"tcp://10.96.0.10:80"},
	}
}

func resultOf(requests, perSecond, endpoints int, outcome func(i int, o *account.Outcome)) *account.Result {
	random := rand.New(rand.NewPCG(1, 2))
	gap := time.Second / time.Duration(perSecond)
	w := account.Window{To: time.Duration(requests) * gap}
	r := &account.Result{
		Began: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC), Window: w, Planned: int64(requests), PeakBacklog: 3,
		Tally: account.NewTally(w, 5*time.Second, 1, "web-7d9c6b5f4-00001", "web-7d9c6b5f4-00009"),
		Self:  account.NewSelfCheck(),
	}
	for i := range requests {
		at := time.Duration(i) * gap
		took := time.Duration(200+random.ExpFloat64()*150) * time.Microsecond
		o := account.Outcome{
			Intended: at, Started: at + 20*time.Microsecond, Connected: at + 60*time.Microsecond, Finished: at + took,
			ID: fmt.Appendf(nil, "web-7d9c6b5f4-%05d", i%max(endpoints, 1)), ClientIP: []byte("10.0.0.1"),
		}
		if outcome != nil {
			outcome(i, &o)
		}
		r.Tally.Record(&o)
		r.Self.Wake.Record(20 * time.Microsecond)
		r.Self.Loop.Record(30 * time.Microsecond)
	}
	r.Self.Busy, r.Self.Ran = 40*ms, time.Second
	return r
}

// Churn is a run with errors of several kinds, events and expected shares.
func Churn() *report.Report {
	r := resultOf(5000, 500, 10, func(i int, o *account.Outcome) {
		switch {
		case i >= 1500 && i < 1900 && i%10 == 0:
			o.Kind, o.Connected, o.Finished = account.Refused, 0, o.Started+90*time.Microsecond
		case i >= 3000 && i < 3100 && i%7 == 0:
			o.Kind = account.ResetBeforeReply
		case i == 4000:
			o.Kind, o.Connected, o.SynRetransmits = account.Timeout, 0, 3
		case i >= 3000 && i < 3200:
			o.Finished += 30 * ms
		case i == 4999:
			o.Finished += 300 * ms
		case i >= 1600 && i%10 == 1:
			o.ID = []byte("web-7d9c6b5f4-00000")
		}
	})
	s := settingsOf(5000, 500)
	s.Weights = map[string]float64{}
	for i := range 10 {
		s.Weights[fmt.Sprintf("web-7d9c6b5f4-%05d", i)] = float64(1 + i%2)
	}
	at := func(d time.Duration) time.Time { return r.Began.Add(d) }
	return report.New("v1.2.3", s, r,
		report.Happening{
			Name: "removed web-7d9c6b5f4-00001", Kind: "removed", Endpoint: "web-7d9c6b5f4-00001", Began: at(3 * time.Second),
			Ended: at(3100 * ms),
		},
		report.Happening{
			Name: "added web-7d9c6b5f4-00009", Kind: "added", Endpoint: "web-7d9c6b5f4-00009", Began: at(3400 * ms),
			Ended: at(3420 * ms),
		},
		report.Happening{Name: "proxy killed", Kind: "proxy", Began: at(6 * time.Second), Ended: at(6 * time.Second)},
		report.Happening{
			Name: "scheduler changed from rr to maglev", Kind: "scheduler", Began: at(9800 * ms), Ended: at(9810 * ms),
			Failure: "exit status 1",
		})
}

// stream is a run of mode stream, which counts bytes.
func stream() *report.Report {
	s := settingsOf(2, 1)
	s.Duration = 10
	s.Mode, s.Loop, s.Rate, s.Connections, s.Direction = "stream", report.Loop(true), 0, 2, "download"
	r := resultOf(2, 1, 1, nil)
	r.Window.To = 10 * time.Second
	for i := range 100 {
		r.Tally.Series.Carry(time.Duration(i)*100*ms, int64(1e7+i%7*1e5))
	}
	r.Tally.Streams = []int64{5e8, 5.3e8}
	return report.New("v1.2.3", s, r)
}

// phased is a run at a rate that rises, over connections that are held.
func phased() *report.Report {
	s := settingsOf(5000, 500)
	s.Mode, s.Rate, s.Connections = "rr", 0, 10
	s.Phases = []report.Phase{{From: 100, To: 100, Length: 4}, {From: 100, To: 900, Length: 6}}
	r := resultOf(5000, 500, 3, nil)
	r.Tally.Held = account.Held{Opened: 11, Failed: 1, Lost: 1}
	return report.New("v1.2.3", s, r)
}

// closed is a run in a closed loop, of a mode whose answers do not say who gave them.
func closed() *report.Report {
	p := Sample(1, nil)
	p.Settings.Mode, p.Settings.Loop, p.Settings.ConnectionsMax = "connect", report.Loop(true), 64
	p.Targets[0].Endpoints, p.Targets[0].Fairness, p.Endpoints = nil, nil, nil
	return p
}

// attack has a hostile text wherever a text can come from outside.
func attack() *report.Report {
	p := Churn()
	for i := range p.Endpoints {
		p.Endpoints[i].ID = Hostile
		p.Endpoints[i].Clients[0].Address = Hostile
		p.Targets[0].Endpoints[i].ID = Hostile
	}
	for i := range p.Events {
		e := &p.Events[i]
		e.Name, e.Endpoint, e.Failure, e.Errors = Hostile, Hostile, Hostile, map[string]int64{Hostile: 1}
	}
	p.Series.Errors[Hostile] = make([]int64, len(p.Series.Answered))
	p.Series.Errors[Hostile][3] = 5
	p.Errors[Hostile], p.Errors["other"] = 5, 1
	p.OtherErrors = []report.OtherError{{Text: Hostile, Count: 1}}
	p.SelfCheck.Warnings, p.SelfCheck.BelowJitter = []string{Hostile}, []string{Hostile}
	s := &p.Settings
	s.Mode, s.Arrivals, s.UDPPort, s.Close = Hostile, Hostile, Hostile, Hostile
	s.Targets, s.Sources = []string{Hostile, Hostile}, []string{Hostile}
	s.Loop, s.Direction, s.Weights = Hostile, Hostile, map[string]float64{Hostile: 1}
	p.Targets[0].Target = Hostile
	p.Targets = append(p.Targets, p.Targets[0])
	p.Version, p.Verdict.Text = Hostile, Hostile
	return p
}

// silent is a run that nobody answered.
func silent() *report.Report {
	return Sample(1, func(_ int, o *account.Outcome) { o.Kind, o.Connected = account.Refused, 0 })
}

// Run is a report with the name of its run.
type Run struct {
	Name   string
	Report *report.Report
}

// Pages are the runs of one page each, by what they show.
func Pages() map[string][]Run {
	idle := runOf(10, 10, 1, nil)
	idle.Interrupted, idle.Requests = true, report.Requests{Planned: 10, Unfinished: 10}
	idle.Latency, idle.Service = report.Percentiles{}, report.Percentiles{}
	idle.LatencySpectrum, idle.ServiceSpectrum = nil, nil
	idle.Series, idle.Endpoints, idle.Targets, idle.Connect = report.Series{}, nil, nil, nil
	old := Sample(3, nil)
	old.Series, old.Targets[0].Fairness = report.Series{}, nil
	old.LatencySpectrum, old.AnsweredSpectrum, old.ServiceSpectrum = nil, nil, nil
	old.Verdict, old.Settings.Loop = report.Verdict{}, ""
	return map[string][]Run{
		"clean":         {{"run", Sample(2, nil)}},
		"churn":         {{"run", Churn()}},
		"three runs":    {{"rr, round 1", Sample(3, nil)}, {"wlc, round 1", Churn()}, {"nobody", silent()}},
		"hostile":       {{Hostile, attack()}, {Hostile, attack()}},
		"one endpoint":  {{"run", Sample(1, nil)}},
		"100 endpoints": {{"run", Sample(100, nil)}},
		"300 endpoints": {{"run", Sample(300, nil)}},
		"no answers":    {{"run", silent()}},
		"nothing ended": {{"run", idle}},
		"one request":   {{"run", runOf(1, 10, 1, nil)}},
		"older report":  {{"run", old}},
		"stream":        {{"run", stream()}},
		"phases":        {{"run", phased()}},
		"closed loop":   {{"run", closed()}},
		"ten minutes":   {{"run", runOf(60_000, 100, 4, nil)}},
	}
}
