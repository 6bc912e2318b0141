package observe

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/engine"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/freeze"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/source"
)

// Status is what the daemon says of itself; `ipvs-proxier status -o json` prints it as it is.
type Status struct {
	Node    string    `json:"node"`
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	// LastPass is when the last pass ended; the zero time before the first one.
	LastPass time.Time `json:"lastPass"`
	// Healthy is false while an operation or a read fails; Errors says which.
	Healthy bool     `json:"healthy"`
	Errors  []string `json:"errors,omitempty"`
	// Unready says why /readyz is bad; empty while it is good.
	Unready []string `json:"unready,omitempty"`
	// Verdict says in a sentence whether all is right, or what is worst. Wrong is true where something is.
	Verdict string `json:"verdict"`
	Wrong   bool   `json:"wrong"`
	// Frozen is the freeze that is in force; nil while the kernel is written to. Waiting counts the Services whose
	// changes wait for its end, FreezeUnkept says why it would not outlive a restart.
	Frozen       *freeze.State `json:"frozen,omitempty"`
	Waiting      int           `json:"waitingServices,omitempty"`
	FreezeUnkept string        `json:"freezeUnkept,omitempty"`
	// Differences counts the virtual and real servers that are not in the kernel as they are wanted, at the time of the
	// request.
	Differences int `json:"differences"`
	// Contested counts the objects that others undo again and again, and that are repaired only now and then.
	Contested int `json:"contestedObjects,omitempty"`
	// APIServer is the API server in use, "" with manifests. APIUnreachable says since when none answers, and why; it
	// is empty while one does. The dataplane stays as it is meanwhile.
	APIServer      string `json:"apiServer,omitempty"`
	APIUnreachable string `json:"apiUnreachable,omitempty"`
	// APIViewAge is the age of what is known from the API; empty with manifests, and before the first lists.
	APIViewAge string `json:"apiViewAge,omitempty"`
	// APIRefusals are what API servers refuse to do for us, each with its reason.
	APIRefusals []string `json:"apiRefusals,omitempty"`
	// Connections is the table of IPVS's connections; nil where it cannot be read.
	Connections *ConnectionsStatus `json:"connections,omitempty"`
	// NodeProblems are of the annotations of this Node, of its kernel, and of addresses on which the proxier cannot
	// serve.
	NodeProblems []ProblemStatus `json:"nodeProblems,omitempty"`
	// Manifests are files with mistakes.
	Manifests []string `json:"manifests,omitempty"`
	// Schedulers are those that this node's kernel has.
	Schedulers []string `json:"schedulers"`
	// VIPMode says what makes service addresses local to the node: "address" or "route".
	VIPMode string `json:"vipMode"`
	// Foreign counts virtual servers of others, Draining real servers on their way out.
	Foreign  int             `json:"foreignVirtualServers"`
	Draining int             `json:"drainingRealServers"`
	Services []ServiceStatus `json:"services"`
	// Unserved says why the Service that the request named is not served here.
	Unserved string `json:"unserved,omitempty"`
	// contested says which they are, in a clause.
	contested string
}

// ServiceStatus is one Service.
type ServiceStatus struct {
	Namespace string           `json:"namespace"`
	Name      string           `json:"name"`
	FrontEnds []FrontEndStatus `json:"frontEnds"`
	// Settings are those of the whole Service.
	Settings []SettingStatus `json:"settings"`
	Problems []ProblemStatus `json:"problems,omitempty"`
	Errors   []string        `json:"errors,omitempty"`
	// Changed is when what is wanted for it last changed.
	Changed time.Time `json:"changed"`
	// Detail is nil unless the request named the Service, or wanted the details of all.
	Detail *Detail `json:"detail,omitempty"`
}

// FrontEndStatus is one virtual server.
type FrontEndStatus struct {
	Kind      string `json:"kind"`
	Protocol  string `json:"protocol"`
	Address   string `json:"address"` // with port
	Port      string `json:"port,omitempty"`
	Scheduler string `json:"scheduler"`
	// Source says where the choice of the scheduler comes from.
	Source string `json:"schedulerSource"`
	Flags  string `json:"flags"`
	// Settings are all settings of the port, by the names of the annotations.
	Settings []SettingStatus `json:"settings"`
	// Digest is the same on all nodes that map clients to endpoints alike; schedulers that do not have none.
	Digest string `json:"digest,omitempty"`
	// Affinity is the session affinity timeout in seconds, 0 for none.
	Affinity   uint32 `json:"affinitySeconds,omitempty"`
	Programmed bool   `json:"programmed"`
	LostTo     string `json:"lostTo,omitempty"`
	// NoLocal says that all endpoints are on other nodes, and the traffic policy is Local.
	NoLocal bool `json:"noLocalEndpoints,omitempty"`
	// State compares the virtual server with the kernel now; Differs says what is not as it is wanted.
	State       State              `json:"state"`
	Differs     string             `json:"differs,omitempty"`
	RealServers []RealServerStatus `json:"realServers"`
}

// SettingStatus is the value of one annotation that is in force, and where it comes from; "" is off, or the kernel's.
type SettingStatus struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Source string `json:"source"`
}

// RealServerStatus is one real server as the kernel has it now.
type RealServerStatus struct {
	Address  string `json:"address"`
	Weight   uint32 `json:"weight"`
	Active   uint32 `json:"activeConnections"`
	Inactive uint32 `json:"inactiveConnections"`
	// Ceiling is how many connections it may have; 0 is any number.
	Ceiling uint32 `json:"ceiling,omitempty"`
	// Wanted is false for one that drains, or is too much.
	Wanted bool `json:"wanted"`
	// State compares it with the kernel now; Differs says what is not as it is wanted.
	State   State  `json:"state"`
	Differs string `json:"differs,omitempty"`
}

// ProblemStatus is one Problem.
type ProblemStatus struct {
	Reason  string `json:"reason"`
	Field   string `json:"field"`
	Message string `json:"message"`
}

// ConnectionCounter reads virtual servers from the kernel, with the connections of their real servers, in their order.
// present is false for one that is not in the kernel.
type ConnectionCounter interface {
	VirtualServer(dataplane.VirtualServerID) (
		v dataplane.VirtualServer, present bool, counts []dataplane.Connections, err error)
	Close() error
}

// Origin is where Services come from, as far as status shows it.
type Origin struct {
	// Mistakes are the files that cannot be used.
	Mistakes func() []string
	// Servers and View are those of the Kubernetes API; nil with manifests.
	Servers *source.Servers
	View    *source.View
}

// Board keeps the newest row of every Service for status and health. It has a lock of its own, so that requests take
// none of the engine's time.
type Board struct {
	node, version string
	started       time.Time
	counter       func() (ConnectionCounter, error)
	from          Origin
	// Now is the clock.
	Now func() time.Time
	// Unready returns why the node is not ready; with a nil one status does not say.
	Unready func() []string
	// Journal has the last changes of Services.
	Journal *Journal
	// Table is nil where the table of connections is not read.
	Table *ConnectionTable
	// Freeze returns the freeze, in which nothing is written to the kernel; with a nil one there is none. Waiting
	// returns how many Services' changes wait for a sync.
	Freeze  func() freeze.Status
	Waiting func() int
	// ListenerProblems returns what is wrong with the addresses on which the proxier serves; nil where it serves on
	// none.
	ListenerProblems func() []cluster.Problem
	// Schedulers are those of the kernel.
	Schedulers []string
	// VIPMode is what makes VIPs local.
	VIPMode dataplane.VIPMode

	mu      sync.Mutex
	rows    map[cluster.Name]*boardRow
	last    engine.Report
	passed  time.Time
	passes  int
	undone  bool      // something is to be tried again
	failing time.Time // since when the node is unsound, zero when it is not
	refused time.Time // since when so many Services are refused that it is the node's fault, zero when they are not
}

// boardRow is what status shows of a Service. It is never changed.
type boardRow struct {
	frontEnds []engine.FrontEndRow
	settings  []cluster.Setting
	problems  []cluster.Problem
	errors    []string
	changed   time.Time
	basis     engine.Basis
}

func NewBoard(node, version string, counter func() (ConnectionCounter, error), from Origin) *Board {
	return &Board{
		node: node, version: version, started: time.Now(), counter: counter, from: from, Now: time.Now,
		rows: map[cluster.Name]*boardRow{}, Journal: NewJournal(node),
	}
}

// Observe implements Observer.
func (b *Board) Observe(r engine.Report) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := r.Start.Add(r.Duration)
	for _, row := range r.Changed {
		if row.Gone {
			delete(b.rows, row.Name)
			continue
		}
		changed := now
		if before, known := b.rows[row.Name]; known &&
			slices.EqualFunc(before.frontEnds, row.FrontEnds, engine.FrontEndRow.Equal) {
			changed = before.changed
		}
		b.rows[row.Name] = &boardRow{row.FrontEnds, row.Settings, row.Problems, row.Errors, changed, row.Basis}
	}
	r.Changed = nil
	b.last = r
	b.passes++
	if r.Backlog == 0 || !b.passed.IsZero() { // a start is over when all Services were looked at
		b.passed = now
	}
	b.undone = r.Error() != nil || r.Pending > 0
	since(&b.failing, r.Unsound, now)
	since(&b.refused, r.MostRefused, now)
}

// since keeps the time from which on something holds, zero when it does not.
func since(from *time.Time, holds bool, now time.Time) {
	switch {
	case !holds:
		*from = time.Time{}
	case from.IsZero():
		*from = now
	}
}

// Status reads the kernel again where something differs: a pass under way may have changed what no Report has yet. What
// differs twice, with no pass between, is a difference.
const (
	looks     = 4
	lookAgain = 150 * time.Millisecond
)

// Status returns what is known, compared with the kernel now. only limits it to these Services; nil is all.
func (b *Board) Status(only func(cluster.Name) bool) Status {
	s, passes := b.look(only)
	for i := 1; i < looks && s.Differences > 0; i++ {
		time.Sleep(lookAgain)
		again, now := b.look(only)
		still := now == passes
		if s, passes = again, now; still {
			break
		}
	}
	s.setVerdict()
	return s
}

// Page returns what is known of one Service, compared with the kernel now, with the Detail of its endpoints, or why it
// is not served.
func (b *Board) Page(name cluster.Name) Status {
	s := b.Status(func(other cluster.Name) bool { return other == name })
	b.detail(&s)
	if len(s.Services) > 0 {
		return s
	}
	b.mu.Lock()
	ask := b.last.Inquiry
	b.mu.Unlock()
	if s.Unserved = ask.Ask(name, engine.Basis{}).Unserved; s.Unserved == "" {
		s.Unserved = "the syncs have not come to it yet"
	}
	return s
}

// detail adds the Details of the Services. One that has gone meanwhile gets none.
func (b *Board) detail(s *Status) {
	b.mu.Lock()
	ask, bases := b.last.Inquiry, make([]engine.Basis, len(s.Services))
	for i, service := range s.Services {
		if row := b.rows[cluster.Name{Namespace: service.Namespace, Name: service.Name}]; row != nil {
			bases[i] = row.basis
		}
	}
	b.mu.Unlock()
	for i := range s.Services {
		service := &s.Services[i]
		answer := ask.Ask(cluster.Name{Namespace: service.Namespace, Name: service.Name}, bases[i])
		if answer.Unserved == "" {
			service.Detail = NewDetail(service, answer)
			service.Detail.Changes = b.changes(cluster.Name{Namespace: service.Namespace, Name: service.Name})
		}
	}
}

// changesOfPage is how many of the last changes stand on the page of a Service.
const changesOfPage = 5

// changes returns the last changes of a Service, the newest last.
func (b *Board) changes(name cluster.Name) []JournalEntry {
	all := b.Journal.of(name).Entries
	return all[max(0, len(all)-changesOfPage):]
}

// look returns what is known and in the kernel now, and how many passes there were before.
func (b *Board) look(only func(cluster.Name) bool) (s Status, passes int) {
	b.mu.Lock()
	passes = b.passes
	s = Status{
		Node: b.node, Version: b.version, Started: b.started, LastPass: b.passed, Healthy: !b.undone && !b.passed.IsZero(),
		Schedulers: b.Schedulers, VIPMode: b.VIPMode.String(), Foreign: b.last.Foreign, Draining: b.last.Draining,
		Services: []ServiceStatus{},
	}
	s.NodeProblems, s.Contested = NewProblemStatus(b.last.ProblemsOfNodes()), b.last.Contested.Count()
	s.contested = contestedReason(b.last.Contested)
	if err := b.last.Error(); err != nil {
		s.Errors = strings.Split(err.Error(), "\n")
	}
	for _, warning := range b.last.Warnings {
		s.Errors = append(s.Errors, warning.Error())
	}
	rows := map[cluster.Name]*boardRow{}
	for name, row := range b.rows {
		if only == nil || only(name) {
			rows[name] = row
		}
	}
	b.mu.Unlock()
	if b.Unready != nil {
		s.Unready = b.Unready()
	}
	if b.Freeze != nil {
		if f := b.Freeze(); f.Frozen != nil {
			s.Frozen, s.FreezeUnkept, s.Waiting = f.Frozen, f.Unkept, b.Waiting()
		}
	}
	if b.Table != nil {
		s.addConnections(b.Table)
	}
	if b.ListenerProblems != nil {
		s.NodeProblems = append(s.NodeProblems, NewProblemStatus(b.ListenerProblems())...)
	}
	s.Manifests = b.from.Mistakes()
	if b.from.Servers != nil {
		server, since, err := b.from.Servers.Reach()
		s.APIServer = server
		if !since.IsZero() {
			s.APIUnreachable = fmt.Sprintf("since %s: %v", since.UTC().Format(time.RFC3339), err)
		}
		s.APIRefusals = b.from.Servers.Refusals()
		if age, seen := b.from.View.Age(); seen {
			s.APIViewAge = age.Round(time.Second).String()
		}
	}
	counter, err := b.counter()
	if err != nil {
		s.Errors = append(s.Errors, "connections cannot be counted: "+err.Error())
		counter = nil
	} else {
		defer counter.Close()
	}
	for _, name := range slices.SortedFunc(maps.Keys(rows), cluster.Name.Compare) {
		service := rows[name].status(name, counter)
		s.Differences += service.differences()
		s.Services = append(s.Services, service)
	}
	return s, passes
}

// addConnections adds the table of connections and its Problems.
func (s *Status) addConnections(table *ConnectionTable) {
	connections, problems, err := table.current()
	if err != nil {
		s.Errors = append(s.Errors, "cannot read the table of connections: "+err.Error())
		return
	}
	s.Connections = &connections
	s.NodeProblems = append(s.NodeProblems, NewProblemStatus(problems)...)
}

func (r *boardRow) status(name cluster.Name, counter ConnectionCounter) ServiceStatus {
	s := ServiceStatus{
		Namespace: name.Namespace, Name: name.Name, Errors: r.errors, Changed: r.changed, FrontEnds: []FrontEndStatus{},
		Settings: NewSettingStatus(r.settings),
	}
	s.Problems = NewProblemStatus(r.problems)
	for _, front := range r.frontEnds {
		s.FrontEnds = append(s.FrontEnds, newFrontEndStatus(front, counter))
	}
	return s
}

func NewProblemStatus(problems []cluster.Problem) (status []ProblemStatus) {
	for _, p := range problems {
		status = append(status, ProblemStatus{p.Reason.Name, p.Field, p.Text()})
	}
	return status
}

func NewSettingStatus(settings []cluster.Setting) []SettingStatus {
	status := []SettingStatus{}
	for _, s := range settings {
		status = append(status, SettingStatus(s))
	}
	return status
}

// sound reports whether what all Services stand on has been in place, and the kernel could be read, within the last
// grace. serving reports whether the kernel has taken most Services within the grace of refusals. passed is the time of
// the last pass.
func (b *Board) sound(now time.Time, grace time.Duration) (sound, serving bool, passed time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	within := func(since time.Time, grace time.Duration) bool { return since.IsZero() || now.Sub(since) < grace }
	return within(b.failing, grace), within(b.refused, refusedGrace), b.passed
}

// ServeHTTP serves Status.
func (b *Board) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	all := func() Status {
		s := b.Status(nil)
		if r.URL.Query().Get("detail") == "true" {
			b.detail(&s)
		}
		return s
	}
	serveJSON(w, r, all, b.Page)
}
