package observe

import (
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/engine"
)

// What a Journal keeps: so many entries, each with the first operations of one Service in one pass; of a pass those of
// so many Services, and no operation behind so many. The rest of a pass is one entry, and so is all of a start.
const (
	journalEntries    = 500
	journalOperations = 8
	journalServices   = 50
	journalLooks      = 4096
)

// Journal remembers the last changes that passes have made in the kernel, in memory; a [JournalKeeper] keeps them over
// a restart. It keeps operations as they are, and formats them on request. It has a lock of its own, so that requests
// take none of the engine's time.
type Journal struct {
	node string

	mu sync.Mutex
	// ring holds the entries; next is the place of the oldest one when it is full.
	ring []journalEntry
	next int
	// forgotten counts older entries that newer ones have replaced.
	forgotten int
	// earlier is what processes before this one have left.
	earlier JournalStatus
	// kept takes what is to be kept; nil is that nobody keeps it. lost counts what is not, unkept says why.
	kept   chan<- journalEntry
	lost   int
	unkept string
}

// journalEntry is what one pass has done for one Service.
type journalEntry struct {
	at     time.Time
	of     cluster.Name
	cause  engine.Cause
	ops    []doneOperation
	count  int
	failed int
	// services is how many Services the entry is of; 0 is of none, as the foundation is.
	services int
	times    passTimes
	// note is what was done by an operator, in words; such an entry has no operations.
	note string
}

type doneOperation struct {
	op  dataplane.Op
	err error
}

// passTimes is how long it took, by stages; queue and total are 0 where nobody waited for it.
type passTimes struct{ queue, compile, kernel, total time.Duration }

// NewJournal returns an empty Journal.
func NewJournal(node string) *Journal { return &Journal{node: node} }

// Observe implements Observer.
func (j *Journal) Observe(r engine.Report) {
	p := page{}
	for o := range r.Operations() {
		if !p.add(o) {
			break
		}
	}
	entries := p.close(r)
	if len(entries) == 0 {
		return
	}
	for _, c := range r.Changes {
		if e := p.of[c.Name]; e != nil && e != p.rest {
			e.times.queue, e.times.total = c.Queue, c.Total
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range entries {
		e.at, e.times.compile, e.times.kernel = r.Start.Add(r.Duration), r.Compile, r.Kernel
		j.put(*e)
		j.keep(*e)
	}
}

// Note adds what an operator has done, in words.
func (j *Journal) Note(at time.Time, text string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	e := journalEntry{at: at, note: text}
	j.put(e)
	j.keep(e)
}

// keep hands an entry to the JournalKeeper, unless its queue is full.
func (j *Journal) keep(e journalEntry) {
	if j.kept == nil {
		return
	}
	select {
	case j.kept <- e:
	default:
		j.lost++
	}
}

func (j *Journal) keepIn(kept chan<- journalEntry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.kept = kept
}

// bringBack takes what processes before this one have left.
func (j *Journal) bringBack(earlier JournalStatus) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.earlier = earlier
}

// notKept counts entries that were not kept, takeUnkept returns how many there are, and begins anew.
func (j *Journal) notKept(n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lost += n
}

func (j *Journal) takeUnkept() (n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	n, j.lost = j.lost, 0
	return n
}

// sayUnkept notes why the journal is not kept; "" is that it is.
func (j *Journal) sayUnkept(why string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.unkept = why
}

// put adds an entry in the place of the oldest one. The passes of a start are one entry.
func (j *Journal) put(e journalEntry) {
	if last := j.last(); last != nil && e.started() && last.started() {
		last.at, last.count = e.at, last.count+e.count
		last.failed, last.services = last.failed+e.failed, last.services+e.services
		last.times.compile += e.times.compile
		last.times.kernel += e.times.kernel
		return
	}
	if len(j.ring) < journalEntries {
		j.ring = append(j.ring, e)
		return
	}
	j.ring[j.next] = e
	j.next = (j.next + 1) % journalEntries
	j.forgotten++
}

// last returns the newest entry, nil where there is none.
func (j *Journal) last() *journalEntry {
	if len(j.ring) == 0 {
		return nil
	}
	return &j.ring[(j.next+len(j.ring)-1)%len(j.ring)]
}

func (e *journalEntry) started() bool {
	return e.cause == engine.Started && len(e.ops) == 0 && e.note == ""
}

// page is what is written of one pass.
type page struct {
	of    map[cluster.Name]*journalEntry
	order []*journalEntry
	// rest is of all that have no entry of their own; nil where there are none.
	rest   *journalEntry
	looked int
	// cut says that not all operations were looked at.
	cut bool
}

// add notes an operation. It returns false where no more is to be looked at.
func (p *page) add(o engine.Operation) bool {
	if o.Cause == engine.Started || p.looked == journalLooks {
		if p.rest == nil {
			p.rest = &journalEntry{cause: o.Cause}
		}
		p.cut = true
		return false
	}
	p.looked++
	p.entry(o).add(o)
	return true
}

// entry returns that of the operation's Service.
func (p *page) entry(o engine.Operation) *journalEntry {
	of := o.Owner()
	e := p.of[of]
	switch {
	case e != nil:
	case len(p.order) == journalServices:
		if p.rest == nil {
			p.rest = &journalEntry{cause: o.Cause}
		}
		e = p.rest
		e.services++
	default:
		e = &journalEntry{of: of, cause: o.Cause, ops: make([]doneOperation, 0, 2)}
		if of != (cluster.Name{}) {
			e.services = 1
		}
		p.order = append(p.order, e)
	}
	if p.of == nil { // most passes of an idle node do nothing
		p.of = map[cluster.Name]*journalEntry{}
	}
	p.of[of] = e
	return e
}

// add counts the operation. It keeps the first ones, and instead of the last of those one that failed, if that did not.
func (e *journalEntry) add(o engine.Operation) {
	e.count++
	e.cause = min(e.cause, o.Cause) // of several the one that counts first
	if o.Err != nil {
		e.failed++
	}
	switch done := (doneOperation{o.Op, o.Err}); {
	case e.ops == nil: // the rest
	case len(e.ops) < journalOperations:
		e.ops = append(e.ops, done)
	case o.Err != nil && e.ops[journalOperations-1].err == nil:
		e.ops[journalOperations-1] = done
	}
}

// close returns the entries. What was not looked at is counted by what the Report says of all.
func (p *page) close(r engine.Report) []*journalEntry {
	if p.rest == nil {
		return p.order
	}
	if p.cut {
		p.rest.count, p.rest.failed = r.OpCount()+r.FailureCount(), r.FailureCount()
		for _, e := range p.order {
			p.rest.count, p.rest.failed = p.rest.count-e.count, p.rest.failed-e.failed
		}
		p.rest.services = max(1, r.Services-len(p.order))
	}
	return append(p.order, p.rest)
}

// JournalStatus is what Journal says; `ipvs-proxier journal -o json` prints it as it is.
type JournalStatus struct {
	Node string `json:"node"`
	// Forgotten counts older entries that are no longer kept, and those that could not be written to a file.
	Forgotten int `json:"forgotten"`
	// Unkept says why the journal is not kept over a restart; empty where it is, or need not be.
	Unkept string `json:"unkept,omitempty"`
	// Entries are in order of time, the oldest first.
	Entries []JournalEntry `json:"entries"`
}

// Only returns the entries of that Service alone; "" is all.
func (s JournalStatus) Only(service string) JournalStatus {
	if service != "" {
		s.Entries = slices.DeleteFunc(slices.Clone(s.Entries),
			func(e JournalEntry) bool { return e.Namespace+"/"+e.Name != service })
	}
	return s
}

// JournalEntry is what one sync did for one Service.
type JournalEntry struct {
	// Time is when it was done.
	Time time.Time `json:"time"`
	// BeforeRestart says that a process before the last one did it.
	BeforeRestart bool `json:"beforeRestart,omitempty"`
	// Namespace and Name are the Service's; empty where the entry belongs to none, or to several.
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	// Services is the number of Services that the entry belongs to; 0 is none, such as for the foundation.
	Services int `json:"services"`
	// Cause is start, drift, retry, timer, change or operator.
	Cause string `json:"cause"`
	// Note says what an operator has done, with the cause operator; there are no operations.
	Note string `json:"note,omitempty"`
	// Count is how many operations there were, Failed how many the kernel refused or the engine left out; Operations
	// are the first of them.
	Count      int                `json:"count"`
	Failed     int                `json:"failed"`
	Operations []JournalOperation `json:"operations,omitempty"`
	// QueueSeconds is how long the change waited for the sync, TotalSeconds until the sync had ended; both are 0 where
	// no change of the Service caused it. CompileSeconds and KernelSeconds are those of the whole sync.
	QueueSeconds   float64 `json:"queueSeconds"`
	CompileSeconds float64 `json:"compileSeconds"`
	KernelSeconds  float64 `json:"kernelSeconds"`
	TotalSeconds   float64 `json:"totalSeconds"`
}

// JournalOperation is one operation, in the words of the log and of metrics.
type JournalOperation struct {
	Verb   string `json:"verb"`
	Kind   string `json:"kind"`
	Object string `json:"object"`
	// Error is why it was not done; empty where it was.
	Error string `json:"error,omitempty"`
}

// String returns for example "create virtual-server tcp 10.96.0.10:53 rr".
func (o JournalOperation) String() string { return o.Verb + " " + o.Kind + " " + o.Object }

// Status returns what is remembered of the Services for which only is true; nil is all, and what belongs to none.
func (j *Journal) Status(only func(cluster.Name) bool) JournalStatus {
	j.mu.Lock()
	entries := slices.Concat(j.ring[j.next:], j.ring[:j.next])
	s := JournalStatus{
		Node: j.node, Forgotten: j.forgotten + j.earlier.Forgotten, Unkept: j.unkept, Entries: []JournalEntry{},
	}
	earlier := j.earlier.Entries
	j.mu.Unlock()
	for _, e := range earlier {
		if only == nil || only(cluster.Name{Namespace: e.Namespace, Name: e.Name}) {
			s.Entries = append(s.Entries, e)
		}
	}
	for _, e := range entries {
		if only == nil || only(e.of) {
			s.Entries = append(s.Entries, e.status())
		}
	}
	return s
}

func (e journalEntry) status() JournalEntry {
	s := JournalEntry{
		Time: e.at.UTC(), Namespace: e.of.Namespace, Name: e.of.Name, Services: e.services, Cause: e.cause.String(),
		Count: e.count, Failed: e.failed,
		QueueSeconds: e.times.queue.Seconds(), CompileSeconds: e.times.compile.Seconds(),
		KernelSeconds: e.times.kernel.Seconds(), TotalSeconds: e.times.total.Seconds(),
	}
	if e.note != "" {
		s.Cause, s.Note = "operator", e.note
	}
	for _, o := range e.ops {
		done := JournalOperation{Verb: o.op.Verb.String(), Kind: o.op.Object.Kind().String(), Object: o.op.Object.String()}
		if o.err != nil {
			done.Error = o.err.Error()
		}
		s.Operations = append(s.Operations, done)
	}
	return s
}

// ServeHTTP serves Status; ?service=NAMESPACE/NAME limits it.
func (j *Journal) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	serveJSON(w, r, func() JournalStatus { return j.Status(nil) }, j.of)
}

// of returns what is remembered of one Service.
func (j *Journal) of(wanted cluster.Name) JournalStatus {
	return j.Status(func(name cluster.Name) bool { return name == wanted })
}
