package engine

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// Lister is where the engine looks up what a key stands for. Another goroutine may ask it for Services, their
// EndpointSlices and weights meanwhile.
type Lister interface {
	// Service returns nil for a Service that is gone.
	Service(cluster.Name) *v1.Service
	Slices(cluster.Name) []*discovery.EndpointSlice
	// Size returns how many bytes a Service has, and its EndpointSlices have together.
	Size(cluster.Name) (service, slices int)
	Names() []cluster.Name
	// Node returns this node, nil when it is not known.
	Node() *v1.Node
	// NodeAt returns the name of a node, other than this one, that lists the address: the first by name; "" when none
	// is known to.
	NodeAt(netip.Addr) string
	// NodeWeight returns what the annotation of a Node says about the weight of the endpoints there.
	NodeWeight(node string) (weight uint32, said bool)
	// NodeWeightsVersion is another number after each change of such an annotation.
	NodeWeightsVersion() uint64
	// NodesVersion is another number after each change of the Nodes.
	NodesVersion() uint64
}

// Settings are the engine's configuration; they do not change while it runs.
type Settings struct {
	NodeName  string
	ProxyName string
	Dataplane dataplane.Config
	Operator  cluster.Operator
	// NoAliases says that annotations of other projects have no meaning.
	NoAliases bool
	// ExternalIPCIDRs are the networks in which Services may have externalIPs.
	ExternalIPCIDRs []netip.Prefix
	// Exclude are networks in which virtual servers of others are left alone even where a Service wants theirs.
	Exclude []netip.Prefix
	// Predecessor reports whether the proxy whose place is taken has created the virtual server: such ones count as
	// ours. It does so until the takeover is complete, so that a deletion that failed at first is tried again. Nil is
	// no predecessor.
	Predecessor func(dataplane.VirtualServerID) bool
	// APIServers returns the addresses and ports of API servers that are known beside those of the Service
	// default/kubernetes. Nil is none.
	APIServers func() []netip.AddrPort
	// Protected reports whether the port, of the node's own addresses, is one that no external front end gets. Nil
	// protects none.
	Protected func(protocol cluster.Protocol, port uint16) bool
	// NoNodeWeights says that the weight annotations of Nodes have no effect.
	NoNodeWeights bool
	// ContestAfter is how many repairs of an object within ContestWindow make it contested; 0 is that none is. It is
	// repaired once in a tenth of the window then.
	ContestAfter  int
	ContestWindow time.Duration
}

// Engine decides and applies: it has the desired state, the mirror of the kernel, and what is still to be done. One
// goroutine owns it. Time is an argument, so that tests have a clock of their own; the real clock measures durations
// only.
type Engine struct {
	settings Settings
	kernel   dataplane.Kernel
	lister   Lister

	want *dataplane.Want
	// have mirrors the kernel; nil until the first successful audit, and nothing is written before that.
	have *dataplane.State
	// seen is what was seen of the kernel ahead of the first pass, and when; nil after that.
	seen   *dataplane.Observation
	seenAt time.Time
	// foreign are the virtual servers that the last audit found to be somebody else's.
	foreign map[dataplane.VirtualServerID]dataplane.VirtualServer
	// listening are the node's sockets that the last audit found, listeners the same by their ports.
	listening []dataplane.Listener
	listeners sockets
	// captures are the rules of others that the last audit found ahead of IPVS, unreadRules reports those that it could
	// not read.
	captures    dataplane.Captures
	unreadRules []cluster.Problem
	node        dataplane.Node
	// broadcasts are the broadcast addresses of the node's networks.
	broadcasts []netip.Addr
	// nodesVersion is what the lister reported when the Nodes were looked at.
	nodesVersion, weightsVersion uint64
	// nodeProblems are those of the annotations of this Node.
	nodeProblems []cluster.Problem
	nodeVersion  string
	claims       nodeClaims
	// servers are the API servers, nil before the first pass; reached is how many of them settings.APIServers reported.
	servers apiServers
	reached int

	services map[cluster.Name]*service
	shared   sharedSettings
	// ignored are the Services that ask to be left alone.
	ignored map[cluster.Name]bool
	// spare are the keys of the pass before this one, while passes follow one another because one is not enough:
	// their maps have the room that is needed again.
	spare dataplane.Touched
	// backlog are Services that wait for a pass; starting says that not all have been looked at since the start.
	backlog  backlog
	starting bool
	pieces   pieces
	losers   losers
	// background compiles what is large; nil is that the pass compiles all by itself. compiling are the Services that
	// it compiles.
	background jobRunner
	large      func(service, slices int) bool
	compiling  map[cluster.Name]*backgroundCompile
	// rationed are the Services for which sets that all share have no room.
	rationed map[cluster.Name]dataplane.Beyond
	drains   drains
	starts   slowStarts
	retries  retries
	taken    taken
	stale    stale
	cutoffs  cutoffs
	// doubts are virtual servers of which the mirror may be wrong; auditDue says that it may be of something else.
	doubts   doubts
	auditDue bool
	// abandoned says that the last pass could not read what it had to: what waits does so until the next try is due.
	abandoned bool
	// connections is how many the last audit has seen.
	connections int
	// unsure are VIPs whose route has a source that the mirror does not know.
	unsure map[netip.Addr]cluster.Name
	// touches are noted while an audit goes on beside the passes; nil when none does. unread is why the last one could
	// not read the kernel.
	touches *touches
	unread  error
	glanced glanced
	// contests are the objects that others undo again and again.
	contests contests
}

func New(s Settings, kernel dataplane.Kernel, l Lister) *Engine {
	return &Engine{
		settings:  s,
		kernel:    kernel,
		lister:    l,
		want:      dataplane.NewWant(dataplane.Foundation(s.Dataplane)),
		node:      dataplane.Node{Name: s.NodeName},
		services:  map[cluster.Name]*service{},
		ignored:   map[cluster.Name]bool{},
		rationed:  map[cluster.Name]dataplane.Beyond{},
		backlog:   backlog{limit: passLimit, most: passLimit},
		pieces:    newPieces(),
		losers:    losers{names: map[cluster.Name]struct{}{}},
		large:     large,
		compiling: map[cluster.Name]*backgroundCompile{},
		drains:    drains{},
		starts:    newSlowStarts(),
		retries:   retries{},
		doubts:    doubts{},
		unsure:    map[netip.Addr]cluster.Name{},
		claims:    newNodeClaims(),
		stale:     stale{newPendingFrontEnds()},
		cutoffs:   cutoffs{newPendingFrontEnds()},
		contests:  newContests(s.ContestAfter, s.ContestWindow),
	}
}

// Pass brings the kernel to what the dirty Services want, retries what failed before and is due, and moves drains on.
// With audit it first reads the whole kernel, and compares everything; audits by time go on beside the passes, and
// repair is the pass after one. The first pass audits; after it all Services are looked at, a pass full at a time, and
// what nobody wants goes when that is done. While Report.Backlog is not 0, another pass is to follow at once.
func (e *Engine) Pass(now time.Time, dirty []cluster.Name, audit bool) Report {
	return e.pass(now, dirty, audit, nil)
}

// repair is a Pass that brings what an audit has found in line with what is wanted.
func (e *Engine) repair(now time.Time, found *drift) Report { return e.pass(now, nil, false, found) }

func (e *Engine) pass(now time.Time, dirty []cluster.Name, audit bool, found *drift) Report {
	r, began := Report{Start: now, Failures: map[cluster.Name][]Failure{}, Inquiry: e.inquiry()}, time.Now()
	pieceBegan := e.pieces.clock()
	touched, dueAudit := e.takeRetries(now)
	var why causes
	if e.spare.Entries != nil {
		why.retried, touched, e.spare = touched, e.spare, dataplane.Touched{}
		touched.Clear()
		touched.Add(why.retried)
	} else if !touched.Empty() {
		why.retried, touched = touched, dataplane.NewTouched()
		touched.Add(why.retried)
	}
	first := e.have == nil
	var others []cluster.Name
	whole := audit || dueAudit || first || e.auditDue
	if r.Audit, r.Whole = whole, whole; whole {
		if err := e.audit(now, &others); err != nil {
			return e.abandonPass(r, err, touched, dirty)
		}
	} else if found != nil {
		r.Audit, r.Whole = true, found.seen.Parts == dataplane.AllParts
		why.drifted = e.driftOfNow(e.recordDrift(found, &r, now, &others))
		touched.Add(why.drifted)
	}
	if err := e.inspectDoubts(); err != nil {
		return e.abandonPass(r, err, touched, append(dirty, others...))
	}
	e.abandoned = false
	others = append(others, e.readNode()...)
	others = append(others, e.roomAgain()...)
	touched.Add(e.want.Prefer(e.node.Sources()))
	maps.Copy(touched.Addresses, e.unsure)
	clear(e.unsure)
	if first {
		names := e.lister.Names()
		e.want.Reserve(len(names))
		e.have.Reserve(max(0, len(names)-len(e.have.VirtualServers)))
		others = append(others, names...)
		e.starting = true
	}
	others = append(others, e.retries.takeDirty()...)
	others = append(others, e.readServers(dirty, others)...)
	// What an audit has found of what is wanted until now is brought in line first: what lacks its address and its
	// entry would be somebody else's, if nobody wanted it any more.
	var done []*backgroundCompile
	if !r.Audit && len(e.pieces.drift) == 0 || e.starting {
		var again []cluster.Name
		done, again = e.takeCompiled()
		others = append(others, again...)
	}
	urgentFirst(others)
	e.backlog.add(others...)

	affected, names := e.backlog.next(dirty)
	r.Services = len(names) + len(done)
	for _, m := range done {
		affected[m.name] = struct{}{}
		touched.Add(e.putCompiled(m.name, m.result))
	}
	for _, later := range e.compileAll(names, &touched) {
		delete(affected, later)
		r.Services--
	}
	ahead := slices.ContainsFunc(dirty, func(name cluster.Name) bool { return !e.want.Changing(name) })
	kind := noPiece
	if !r.Audit || e.starting {
		var piece dataplane.Touched
		piece, kind = e.nextPiece(now, ahead, affected)
		touched.Add(piece)
		why.addPiece(kind, piece)
	}
	why.starting = e.starting
	started := e.starting && e.backlog.len()+e.pieces.changing()+len(e.compiling) == 0
	if r.Audit || e.starting {
		e.adoptWanted(&touched)
	}
	if why.whole = whole && !e.starting; why.whole {
		why.asked = dataplane.NewTouched()
		why.asked.Add(touched)
	}
	if whole {
		touched.Add(dataplane.All(e.want.Owner, e.want.State))
	}
	if started || whole && !e.starting { // else what others want is not known yet
		touched.Add(dataplane.Unwanted(e.have, e.want.State))
		e.starting = false
	}
	if e.unread != nil {
		r.Errors = append(r.Errors, e.unread)
	}
	if len(e.drains)+len(e.starts.growing) > 0 {
		polled, errs := e.pollDrains(now)
		r.Errors = append(r.Errors, errs...)
		why.timed = e.touchTimed(append(polled, e.starts.grow(now, e.want)...), touched)
	}

	e.touchWaiting(now, &why, &touched)
	ops := e.clip(now, dataplane.Diff(e.have, e.target(now, touched), touched), touched)
	ops = e.holdBack(now, ops, &why, touched)
	e.touches.note(touched, ops)
	r.operations = &operations{ops: ops, owner: e.ownerOf(touched), causes: why}
	compiled := time.Now()
	e.apply(&r, ops, touched)
	e.countRepairs(now, r.operations)
	e.shutExposed(&r, touched)
	e.nameOwners(&r)
	r.Compile, r.Kernel = compiled.Sub(began), time.Since(compiled)
	e.backlog.took(r.Services, r.Compile+r.Kernel, e.starting)
	if kind != noPiece {
		e.pieces.took(e.pieces.clock().Sub(pieceBegan), e.starting)
	}
	if started {
		e.stale.noteAll(e.have)
		e.cutoffs.noteAll(e.want)
	}
	if !e.starting { // conntrack's table is read once for all Services
		e.forget(now, &r)
		e.cutOff(now, &r)
	}
	e.drains.dropEnded(e.have, e.want.State, touched)
	e.have.Share(e.want.State, touched)
	e.scheduleRetries(now, &r, touched, e.recordRest(&r, touched), affected)
	e.taken.note(now, r.operations, e.retries)
	e.reportLosers(now, affected)
	r.Backlog = e.waiting() + len(e.compiling)
	r.Changed = e.rows(affected, &r)
	e.endTries()
	e.reportNodeClaims()
	r.Contested = e.contests.report()
	r.NodeProblems = slices.Concat(e.nodeProblems, e.claims.own, e.unreadRules, r.Contested.Problems)
	r.NodeVersion = e.nodeVersion
	r.OtherNodes, r.Inquiry = e.claims.others, e.inquiry()
	r.Connections = e.connections
	if r.Backlog > 0 {
		e.spare = touched // which the Report's operations look at until the next pass
	}
	r.Served, r.Foreign, r.Draining, r.Pending = len(e.services), len(e.foreign), e.drains.count(), len(e.retries)
	r.countRetries(e)
	return r
}

// drop forgets a Service that is gone, or not ours to carry out.
func (e *Engine) drop(name cluster.Name) dataplane.Touched {
	delete(e.services, name)
	delete(e.compiling, name)
	delete(e.rationed, name)
	e.claims.drop(name)
	e.claims.noteOutside(name, nodeClaim{})
	e.starts.drop(name)
	return e.remove(name)
}

// target returns the wanted State of the touched keys, with what has to drain first.
func (e *Engine) target(now time.Time, touched dataplane.Touched) *dataplane.State {
	target := dataplane.NewState()
	want := e.want.State
	if touched.Foundation {
		target.Links, target.Sysctls = want.Links, want.Sysctls
		target.Sets, target.Chains, target.Hooks = want.Sets, want.Chains, want.Hooks
		if e.starting && e.inherited() {
			e.keepRules(target)
		}
	}
	for id := range touched.VirtualServers {
		if v, wanted := want.VirtualServers[id]; wanted {
			front, _ := e.want.FrontEnd(id)
			have, present := e.have.VirtualServers[id]
			done := func(rs dataplane.RealServerID) bool { return e.drains.done(rs, now, front.DrainTimeout) }
			v = e.starts.weigh(now, e.want.Owner(id), front, v, have, present)
			target.SetVirtualServer(id, dataplane.Drain(id, v, have, done))
		} else {
			delete(e.starts.seen, id)
		}
	}
	// Of which only the touched ones are looked at.
	target.Entries, target.Addresses, target.Routes = want.Entries, want.Addresses, want.Routes
	return target
}
