package observe

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/engine"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"
)

// tableOf returns what looks at a table that the test changes, with a clock of its own.
func tableOf(t *kernel.ConnectionTable, now *time.Time) *ConnectionTable {
	return &ConnectionTable{sparing: sparing{
		now: func() time.Time { return *now },
	}, read: func() (kernel.ConnectionTable, error) { return *t, nil }}
}

// TestTableTooSmall: a table that cannot grow and is crowded is a Problem, and stays one until it is clearly none; and
// so is a limit that is nearly reached.
func TestTableTooSmall(t *testing.T) {
	small, limited := connectionTableSmall, connectionsLimited
	fixed := kernel.ConnectionTable{MaxBuckets: 4096}
	grows := kernel.ConnectionTable{Grows: true, Buckets: 4096, MaxBuckets: 4096}
	limit := kernel.ConnectionTable{Grows: true, Buckets: 4096, MaxBuckets: 1 << 20, Limited: true, MaxConnections: 1000}
	type step struct {
		connections int
		want        []cluster.Reason
	}
	for _, c := range []struct {
		name  string
		table kernel.ConnectionTable
		steps []step
	}{
		{"up to Linux 7.0 a connection is one entry", fixed, []step{{0, nil}, {16384, nil}, {16385, []cluster.Reason{small}}, {8193, []cluster.Reason{small}}, {8192, nil}, {16384, nil}}},
		{"from Linux 7.1 on it is two", grows, []step{{8192, nil}, {8193, []cluster.Reason{small}}, {4097, []cluster.Reason{small}}, {4096, nil}}},
		{"a table that grows is not small", kernel.ConnectionTable{Grows: true, Buckets: 4096, MaxBuckets: 8192}, []step{{1e6, nil}}},
		{"before the first virtual server there is no table", kernel.ConnectionTable{Grows: true, MaxBuckets: 4096}, []step{{0, nil}}},
		{"a size that nobody knows", kernel.ConnectionTable{}, []step{{1e6, nil}}},
		{"a limit that is nearly reached", limit, []step{{899, nil}, {900, []cluster.Reason{limited}}, {1000, []cluster.Reason{limited}}, {800, []cluster.Reason{limited}}, {799, nil}, {899, nil}}},
		{"a limit of none", kernel.ConnectionTable{Grows: true, Limited: true}, []step{{0, []cluster.Reason{limited}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			now, table := time.Unix(1e9, 0), c.table
			of := tableOf(&table, &now)
			for _, s := range c.steps {
				table.Connections = s.connections
				if !table.Grows {
					table.Connections = 0
					of.Observe(engine.Report{Audit: true, Connections: s.connections})
					of.Observe(engine.Report{}) // a pass that audits nothing knows nothing
				}
				now = now.Add(time.Minute)
				status, problems, err := of.current()
				var got []cluster.Reason
				for _, p := range problems {
					got = append(got, p.Reason)
					if !p.Reason.OfNode {
						t.Errorf("%s is not of the node alone", p.Reason)
					}
				}
				if err != nil || !slices.Equal(got, s.want) || status.Connections != s.connections {
					t.Errorf("%d connections: %v, %v, %+v; want %v", s.connections, got, err, status, s.want)
				}
			}
		})
	}
}

// TestTableIsReadSparingly: not twice in five seconds, and not for more than half a percent of the time, however many
// the requests.
func TestTableIsReadSparingly(t *testing.T) {
	now, reads := time.Unix(1e9, 0), 0
	c := &ConnectionTable{sparing: sparing{now: func() time.Time { return now }}}
	for _, took := range []time.Duration{0, time.Second} {
		c.read = func() (kernel.ConnectionTable, error) {
			reads++
			now = now.Add(took)
			return kernel.ConnectionTable{}, nil
		}
		reads, now = 0, now.Add(time.Hour)
		for end := now.Add(1000 * time.Second); now.Before(end); now = now.Add(500 * time.Millisecond) {
			_, _, _ = c.current()
		}
		if want := int(1000 / max(5, 201*took.Seconds())); reads < want || reads > want+1 {
			t.Errorf("%d readings of %s each in 1000 s, want %d", reads, took, want)
		}
	}
}

// TestTableIsWatched: the log reports a Problem when it comes and when it goes, and once that the table cannot be read.
// The metric follows.
func TestTableIsWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// The lock is for the race detector: that time passes in between orders nothing for it.
		var mu sync.Mutex
		table, failure := kernel.ConnectionTable{Grows: true, Buckets: 4096, MaxBuckets: 4096}, error(nil)
		c := NewConnectionTable()
		c.read = func() (kernel.ConnectionTable, error) {
			mu.Lock()
			defer mu.Unlock()
			return table, failure
		}
		var text strings.Builder
		m := NewMetrics(nil, "v1")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go c.Watch(ctx, time.Minute, slog.New(slog.NewTextHandler(&text, nil)), m.CountNodeProblems)
		log := func() string {
			time.Sleep(3*time.Minute + time.Second)
			synctest.Wait()
			defer text.Reset()
			return text.String()
		}
		for _, step := range []struct {
			connections int
			failure     error
			log         string
			series      float64
		}{
			{0, nil, "", 0}, {1e6, nil, "msg=problem node=", 1}, {1e6, errors.New("no such luck"), "no such luck", 1}, {1e6, nil, "", 1}, {0, nil, "problem is gone", 0},
		} {
			mu.Lock()
			table.Connections, failure = step.connections, step.failure
			mu.Unlock()
			got := log()
			if step.log == "" && got != "" || strings.Count(got, step.log) != 1 && step.log != "" ||
				strings.Count(got, "\n") > 1 {
				t.Errorf("%+v: the log is %q", step, got)
			}
			if n := problemsOf(t, m, connectionTableSmall.Name); n != step.series {
				t.Errorf("%+v: the metric is %v", step, n)
			}
		}
	})
}

// problemsOf returns the value of the series of the node's own Problems of a reason.
func problemsOf(t *testing.T, m *Metrics, reason string) (value float64) {
	t.Helper()
	all, err := m.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range all {
		for _, one := range family.GetMetric() {
			for _, label := range one.GetLabel() {
				if family.GetName() == "ipvs_proxier_problems" && label.GetName() == "reason" && label.GetValue() == reason {
					value += one.GetGauge().GetValue()
				}
			}
		}
	}
	return value
}
