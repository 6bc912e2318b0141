package engine

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// Report says what one pass did. Log, metrics, status and health are made from Reports and nothing else.
type Report struct {
	// Start is the engine's time of the pass, Duration what it took on a real clock.
	Start    time.Time
	Duration time.Duration
	// Compile is the time from the start to the first operation, Kernel that of the operations.
	Compile, Kernel time.Duration
	// Changes are those that this pass brought to the kernel.
	Changes []ChangeTimes
	// Audit says that the kernel was read first, Whole that all of it was.
	Audit, Whole bool
	// Services is the number of Services that were looked at, Served that of all that are served.
	Services, Served int
	// Backlog is the number of Services that wait for the passes to come or are made beside them, of what is not done
	// yet of big ones, and of Services that are to be reported.
	Backlog int
	// Ops counts the operations that succeeded.
	Ops map[OpLabel]int
	// Sysctls are the kernel parameters that were changed, with what they were before.
	Sysctls []dataplane.SysctlChange
	// operations are what the pass has done; nil where it did not come to that.
	operations *operations
	// Err is set when the kernel could not be read: then nothing was done.
	Err error
	// Errors are what else went wrong without being an operation's failure; Warnings what does not keep the kernel from
	// being in line with what is wanted.
	Errors, Warnings []error
	// Changed are the Services whose status may have changed.
	Changed []Row
	// NodeProblems are those of this Node: of its annotations and its addresses.
	NodeProblems []cluster.Problem
	// OtherNodes are the Nodes, by their names as UID, that list addresses that are not theirs.
	OtherNodes []Row
	// Contested is what others undo again and again.
	Contested Contested
	// NodeVersion is this Node's resourceVersion when its annotations were read.
	NodeVersion string
	// Foreign counts virtual servers of others, Draining real servers that are on their way out, Pending Services (and
	// the foundation) that have something to be tried again.
	Foreign, Draining, Pending int
	// Unsound says that the foundation is incomplete, or that the kernel could not be read.
	Unsound bool
	// Refused counts the Services of which something is to be tried again. MostRefused says that they are so many of
	// those that came to the kernel lately that it must be the node's fault.
	Refused     int
	MostRefused bool
	// Connections is how many connections the real servers had together when the whole kernel was last read.
	Connections int
	// Forgotten counts the UDP flows that connection tracking was made to forget.
	Forgotten int
	// Inquiry finds out about the endpoints of Services, by what this pass knew of the node.
	Inquiry Inquiry
	// CutOff counts the connections of clients outside of source ranges that connection tracking was made to forget.
	CutOff int

	Failures map[cluster.Name][]Failure
}

// ChangeTimes is how long a change of a Service took on its way.
type ChangeTimes struct {
	// Name is the Service's.
	Name cluster.Name
	// Queue is the time from its arrival to the start of the pass, Total that from its arrival to the end of the pass.
	Queue, Total time.Duration
	// Watch are the times from what led to changed endpoints, by the clock of the control plane, to the arrival here;
	// Programmed those to the end of the pass.
	Watch, Programmed []time.Duration
}

// OpLabel is the kind of an operation, for counting.
type OpLabel struct {
	Verb dataplane.Verb
	Kind dataplane.Kind
}

// Row is the status of one Service after a pass.
type Row struct {
	Name cluster.Name
	UID  string
	// Version is the Service's resourceVersion.
	Version string
	// Gone says that the Service is not served any more; then the rest is empty.
	Gone      bool
	FrontEnds []FrontEndRow
	// Settings are those of the whole Service.
	Settings []cluster.Setting
	Problems []cluster.Problem
	Errors   []string
	// HealthCheckPort is the healthCheckNodePort, 0 for none; LocalReady the number of addresses of ready endpoints on
	// this node, which that port reports.
	HealthCheckPort uint16
	LocalReady      dataplane.LocalReady
	// NoLocalInternal and NoLocalExternal count the ports, in each family, whose endpoints are all on other nodes while
	// the traffic policy is Local.
	NoLocalInternal, NoLocalExternal int
	// Basis is what an Inquiry needs.
	Basis Basis
}

// FrontEndRow is one virtual server of a Service.
type FrontEndRow struct {
	// Front is what is wanted; it is shared and never changed. What drains is found in the kernel.
	Front      *dataplane.FrontEnd
	Port       *PortRow
	LostTo     *cluster.Name // the Service that has the front end; nil where this one has
	Programmed bool
}

func (f FrontEndRow) Equal(other FrontEndRow) bool {
	return f.Front.ID == other.Front.ID && f.Port.Name == other.Port.Name && f.Winner() == other.Winner() &&
		f.Programmed == other.Programmed &&
		slices.Equal(f.Port.Settings, other.Port.Settings) && f.Front.VirtualServer.Equal(other.Front.VirtualServer)
}

// Winner is the Service that the front end is lost to, the zero Name where it is not.
func (f FrontEndRow) Winner() cluster.Name {
	if f.LostTo == nil {
		return cluster.Name{}
	}
	return *f.LostTo
}

func (r *Report) done(op dataplane.Op) {
	if r.Ops == nil {
		r.Ops = map[OpLabel]int{}
	}
	r.Ops[OpLabel{op.Verb, op.Object.Kind()}]++
}

func (r *Report) fail(owner cluster.Name, op dataplane.Op, err error) {
	r.Failures[owner] = append(r.Failures[owner], Failure{op, err})
}

// OpCount is the number of operations that succeeded.
func (r Report) OpCount() (n int) {
	for _, count := range r.Ops {
		n += count
	}
	return n
}

// FailureCount is the number of operations that were not done.
func (r Report) FailureCount() (n int) {
	for _, failures := range r.Failures {
		n += len(failures)
	}
	return n
}

// firstErrors returns as many errors of one Service as are reported, and how many there are more.
func firstErrors(failures []Failure) (errs []error) {
	for i, f := range failures {
		if i == budget.Problems {
			return append(errs, fmt.Errorf("and %d more operations failed", len(failures)-i))
		}
		errs = append(errs, f.Err)
	}
	return errs
}

// Error joins what went wrong, of each Service no more than is reported, with the Service it belongs to; nil when
// nothing did.
func (r Report) Error() error {
	errs := slices.Clone(r.Errors)
	if r.Err != nil {
		errs = append(errs, fmt.Errorf("read the kernel: %w", r.Err))
	}
	for name, failures := range r.Failures {
		for _, err := range firstErrors(failures) {
			if name != (cluster.Name{}) {
				err = fmt.Errorf("service %s: %w", name, err)
			}
			errs = append(errs, err)
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

// countRetries says of what is to be tried again whether it is everybody's or some Services'.
func (r *Report) countRetries(e *Engine) {
	r.Unsound = r.Err != nil || len(r.Errors) > 0 || e.retries.foundationFailed()
	r.Refused, r.MostRefused = e.retries.refused(), e.retries.mostRefused(&e.taken, e.oneNamespace)
}

// rows returns the rows of the Services. One that changes, or is tried again, piece by piece has its row when that is
// over, a new one that is made beside the passes when it is made.
func (e *Engine) rows(names map[cluster.Name]struct{}, r *Report) []Row {
	rows := make([]Row, 0, len(names))
	for name := range names {
		if e.compiling[name] != nil && e.services[name] == nil {
			continue
		}
		if name != (cluster.Name{}) && !e.want.Changing(name) && !e.tries(name) {
			rows = append(rows, e.row(name, e.failuresOf(name, r)))
		}
	}
	slices.SortFunc(rows, func(a, b Row) int { return a.Name.Compare(b.Name) })
	return rows
}

func (e *Engine) row(name cluster.Name, failures []Failure) Row {
	s, present := e.services[name]
	row := Row{Name: name, Gone: !present}
	for _, err := range firstErrors(failures) {
		row.Errors = append(row.Errors, err.Error())
	}
	if !present {
		return row
	}
	row.Version, row.Settings, row.Basis = s.version, s.settings, Basis{s}
	row.UID, row.HealthCheckPort = s.uid, s.healthCheckPort
	var problems cluster.Problems
	if s.problems != nil {
		problems.Join(*s.problems)
	}
	if e.retries.persists(name) && !e.retries.foundationFailed() {
		addRefusals(&problems, failures)
	}
	fragment, _ := e.want.Fragment(name)
	row.LocalReady = fragment.LocalReady
	row.NoLocalInternal, row.NoLocalExternal = noLocal(fragment)
	for i := range fragment.FrontEnds {
		front := &fragment.FrontEnds[i]
		f := FrontEndRow{Front: front, Port: &s.ports[front.Port]}
		if winner := e.want.Owner(front.ID); winner != name {
			f.LostTo = &winner
			won, _ := e.want.FrontEnd(front.ID)
			addConflict(&problems, front, winner, won.Kind)
		}
		if _, f.Programmed = e.have.VirtualServers[front.ID]; f.LostTo == nil && e.retries.persists(name) {
			e.addUnguarded(&problems, front)
		}
		row.FrontEnds = append(row.FrontEnds, f)
	}
	row.Problems = problems.Reported()
	return row
}

// noLocal counts the ports, in each family, whose endpoints are all on other nodes while the policy is Local.
func noLocal(f dataplane.Fragment) (internal, external int) {
	type port struct {
		index    int32
		family   cluster.Family
		internal bool
	}
	seen := map[port]struct{}{}
	for _, front := range f.FrontEnds {
		key := port{front.Port, cluster.FamilyOf(front.ID.Addr), front.Kind == dataplane.ClusterIP}
		if _, counted := seen[key]; counted || !front.NoLocal {
			continue
		}
		seen[key] = struct{}{}
		if key.internal {
			internal++
		} else {
			external++
		}
	}
	return internal, external
}

// kernelRefused is the reason of an operation that this node's kernel refuses again and again.
var kernelRefused = cluster.Reason{Name: "KernelRefused", OfNode: true}

// addRefusals reports what the kernel refuses, and not of what was left out for its sake.
func addRefusals(problems *cluster.Problems, failures []Failure) {
	for _, f := range failures {
		if !errors.Is(f.Err, errBlocked) {
			why := f.Err
			if errno := syscall.Errno(0); errors.As(f.Err, &errno) {
				why = errno
			}
			problems.Addf(kernelRefused, f.Op.String(),
				"the kernel refuses it: %v; what does not need it is served, and it is tried again ever more rarely", why)
		}
	}
}

// ProblemsOfNodes returns the Problems of this Node and of the others, whose fields name them.
func (r *Report) ProblemsOfNodes() []cluster.Problem {
	all := slices.Clip(r.NodeProblems)
	for _, row := range r.OtherNodes {
		for _, p := range row.Problems {
			p.Field = fmt.Sprintf("node %s: %s", row.UID, p.Field)
			all = append(all, p)
		}
	}
	return all
}
