package observe

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/engine"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"
)

// The reasons that are found here.
var (
	// connectionsLimited: nearly as many connections as the node's kernel may have.
	connectionsLimited = cluster.Reason{Name: "ConnectionsLimited", OfNode: true}
	// connectionTableSmall: a table that is too small for its connections.
	connectionTableSmall = cluster.Reason{Name: "ConnectionTableSmall", OfNode: true}
)

// ConnectionsStatus is the table of IPVS's connections.
type ConnectionsStatus struct {
	// Connections are those of this network namespace, as the kernel counts them. Where it does not (Counted is
	// "audit"), they are the sum over the real servers that the last audit has seen.
	Connections int    `json:"connections"`
	Counted     string `json:"counted"`
	// MaxConnections is net.ipv4.vs.conn_max; nil where the kernel has no such limit.
	MaxConnections *int `json:"maxConnections,omitempty"`
	// Buckets is the size of the table now, MaxBuckets what it can grow to; 0 is unknown. They are the same where the
	// table does not grow.
	Buckets    int `json:"buckets"`
	MaxBuckets int `json:"maxBuckets"`
	// ServiceBuckets is the size of the table of virtual servers; 0 where the kernel does not report it.
	ServiceBuckets int `json:"serviceBuckets,omitempty"`
}

// When the table counts as too small, and when no more: a warning does not come and go with every connection.
const (
	// crowded is how many entries share a bucket on average, of a table that cannot grow. Each packet looks at half of
	// them.
	crowded, spacious = 4, 2
	// nearlyFull is which part of the connections that there may be are there.
	nearlyFull, roomy = 0.9, 0.8
)

// ConnectionTable reads the kernel's table on request, and keeps the result for as long as another read would cost too
// much.
type ConnectionTable struct {
	read func() (kernel.ConnectionTable, error)

	mu       sync.Mutex
	sparing  sparing
	of       kernel.ConnectionTable
	err      error
	audited  int // connections that the last audit has seen
	problems []cluster.Problem
}

// TableWatch is how often the table is looked at for Problems.
const TableWatch = 30 * time.Second

func NewConnectionTable() *ConnectionTable {
	return &ConnectionTable{read: kernel.ReadConnectionTable, sparing: sparing{now: time.Now}}
}

// Observe implements Observer.
func (c *ConnectionTable) Observe(r engine.Report) {
	if !r.Audit {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.audited = r.Connections
}

// current returns the table, and what is wrong with it. The error says that it cannot be read.
func (c *ConnectionTable) current() (ConnectionsStatus, []cluster.Problem, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sparing.read(func() { c.of, c.err = c.read() })
	if c.err != nil {
		return ConnectionsStatus{}, nil, c.err
	}
	s := ConnectionsStatus{
		Connections: c.of.Connections, Counted: "kernel", Buckets: c.of.Buckets, MaxBuckets: c.of.MaxBuckets,
		ServiceBuckets: c.of.ServiceBuckets,
	}
	if !c.of.Grows {
		s.Connections, s.Counted, s.Buckets = c.audited, "audit", c.of.MaxBuckets
	}
	if c.of.Limited {
		s.MaxConnections = &c.of.MaxConnections
	}
	c.problems = c.findProblems(s)
	return s, c.problems, nil
}

// findProblems returns the Problems of the table. Their messages hold no numbers that change, so that a Problem that
// stays is the same value.
func (c *ConnectionTable) findProblems(s ConnectionsStatus) (problems []cluster.Problem) {
	was := func(reason cluster.Reason) bool {
		return slices.ContainsFunc(c.problems, func(p cluster.Problem) bool { return p.Reason == reason })
	}
	part := nearlyFull
	if was(connectionsLimited) {
		part = roomy
	}
	if s.MaxConnections != nil && float64(s.Connections) >= part*float64(*s.MaxConnections) {
		problems = append(problems, cluster.Problem{Reason: connectionsLimited, Field: kernel.ConnectionMax,
			Message: fmt.Sprintf(
				"this node may have %d connections through Services, and has nearly as many; one more is dropped; allowed are up to 1073741824", *s.MaxConnections)})
	}
	share := crowded
	if was(connectionTableSmall) {
		share = spacious
	}
	entries := s.Connections
	if c.of.Grows {
		entries *= 2 // one for each direction (net/netfilter/ipvs/ip_vs_conn.c, ip_vs_conn_hash, Linux 7.2)
	}
	if s.Buckets > 0 && s.Buckets >= s.MaxBuckets && entries > share*s.Buckets {
		problems = append(problems, cluster.Problem{Reason: connectionTableSmall,
			Field: "ip_vs." + kernel.ConnectionTabBits, Message: fmt.Sprintf(
				"the table of connections has %d buckets and grows no further, and each packet looks at several connections in one; "+
					"load the module ip_vs with a larger %s: 2 to the power of it is the most buckets", s.Buckets, kernel.ConnectionTabBits)})
	}
	return problems
}

// Watch reports Problems that are new or gone until ctx ends: in the log, and by calling changed with the Problems
// before and now.
func (c *ConnectionTable) Watch(
	ctx context.Context, every time.Duration, log *slog.Logger, changed func(before, now []cluster.Problem),
) {
	var before []cluster.Problem
	unread := ""
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		_, now, err := c.current()
		switch {
		case err != nil && err.Error() != unread:
			log.Warn("cannot read the table of connections", "err", err)
			unread = err.Error()
		case err == nil:
			unread = ""
			logProblems(log, "node", "this node", before, now)
			changed(before, now)
			before = now
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
