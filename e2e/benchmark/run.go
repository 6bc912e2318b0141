// Package benchmark makes a page out of measurements of Service proxies: tables, plots, and what of the project's goals
// is reached. It measures nothing; every number in it comes from the runs that it is given.
package benchmark

import (
	"cmp"
	"math"
	"slices"
)

// The proxies that are compared.
const (
	Ours       = "ipvs-proxier"
	KubeProxy  = "kube-proxy ipvs"
	Iptables   = "kube-proxy iptables"
	KubeRouter = "kube-router"
)

// Run is one proxy on one cluster, measured once.
type Run struct {
	Proxy     string `json:"proxy"`
	Build     string `json:"build,omitempty"`     // the revision that it was built of; empty: this one
	Arguments string `json:"arguments,omitempty"` // that it got beside the usual ones
	Source    string `json:"source"`              // of its objects: API or manifests
	Services  int    `json:"services"`
	Round     int    `json:"round"`

	Failure string   `json:"failure,omitempty"` // why there is nothing, or less, of it
	Report  *Control `json:"report,omitempty"`
	Calls   *Calls   `json:"calls,omitempty"` // counted in a run of its own
	Floor   *Floor   `json:"floor,omitempty"`
	List    *float64 `json:"api_list_s,omitempty"`   // a process that only lists the API's objects
	Events  *float64 `json:"api_events_s,omitempty"` // the same as streams of events
}

// Control is what is used of the JSON of ipvs-load control.
type Control struct {
	First      *Part       `json:"first_programming"`
	Complete   *float64    `json:"complete_s"`
	Ready      *float64    `json:"ready_s"`
	Changes    *Changes    `json:"changes"`
	Histograms []Histogram `json:"histograms"`
	Idle       *Part       `json:"idle"`
	Restart    *Part       `json:"restart"`
	Resolution float64     `json:"resolution_ms"`
	PeakRSS    *int64      `json:"peak_rss_bytes"`
	Busy       bool        `json:"machine_was_busy"`
	Converged  bool        `json:"converged"`
	Failure    string      `json:"failure"`
}

// Part is one part of a measurement.
type Part struct {
	Took      float64          `json:"took_s"`
	Own       float64          `json:"own_cpu_s"`
	Children  float64          `json:"children_cpu_s"`
	PeakRSS   int64            `json:"peak_rss_bytes"`
	RSS       int64            `json:"rss_bytes"` // at its end
	Processes int64            `json:"processes_started"`
	Requests  *int64           `json:"netlink_requests"`
	Writes    *int64           `json:"netlink_writes"`
	ByKind    map[string]int64 `json:"netlink_writes_by_kind"`
	// Counters are by how much those of the proxy's own have grown.
	Counters map[string]float64 `json:"counters,omitempty"`
}

// Changes is the exchanges of one endpoint.
type Changes struct {
	Part
	Count int     `json:"count"`
	P50   float64 `json:"p50_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
}

// Histogram is one of the proxy's own, over the changes.
type Histogram struct {
	Name   string  `json:"name"`
	Labels string  `json:"labels"`
	P50    float64 `json:"p50"`
	P99    float64 `json:"p99"`
}

// Calls are system calls of a first programming, from process start until all was complete, by which the kernel is
// programmed.
type Calls struct {
	Netlink   int `json:"netlink"`   // its own: on netlink sockets, and getsockopt and setsockopt of IPVS and iptables
	Children  int `json:"children"`  // the same of the programs that it executed
	Processes int `json:"processes"` // programs executed beside itself
	// NotCounted says why there is nothing.
	NotCounted string `json:"not_counted,omitempty"`
}

// Floor is what ipvs-load replay says.
type Floor struct {
	Messages int     `json:"messages"`
	Sends    int     `json:"sends"`
	Took     float64 `json:"took_s"`
	Failed   int     `json:"failed"`
	Look     struct {
		Services int     `json:"virtual_servers"`
		Took     float64 `json:"took_s"`
	} `json:"look"`
}

// Name is what the tables call the proxy.
func (r *Run) Name() string {
	name := r.Proxy
	if r.Build != "" {
		name += " of " + r.Build
	}
	if r.Arguments != "" {
		name += " " + r.Arguments
	}
	if r.Source != "API" {
		name += ", from " + r.Source
	}
	return name
}

// row is the runs of one proxy on one cluster, in all rounds.
type row struct {
	proxy, name string
	source      string
	services    int
	runs        []Run
}

// rows groups runs, in the order of their sizes, and within a size in the order in which they were first made.
func rows(runs []Run) (all []*row) {
	for _, r := range runs {
		i := slices.IndexFunc(all, func(x *row) bool { return x.name == r.Name() && x.services == r.Services })
		if i < 0 {
			i, all = len(all), append(all, &row{proxy: r.Proxy, name: r.Name(), source: r.Source, services: r.Services})
		}
		all[i].runs = append(all[i].runs, r)
	}
	slices.SortStableFunc(all, func(a, b *row) int { return cmp.Compare(a.services, b.services) })
	return all
}

// find returns the row of a proxy with its usual arguments and the API as its source.
func find(all []*row, proxy string, services int) *row {
	for _, r := range all {
		if r.name == proxy && r.services == services {
			return r
		}
	}
	return nil
}

// median of what the runs say; there is none when none of them says anything.
func (r *row) median(of func(*Run) (float64, bool)) (float64, bool) {
	values := r.values(of)
	if len(values) == 0 {
		return 0, false
	}
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2, true
}

// spread is the least and the most.
func (r *row) spread(of func(*Run) (float64, bool)) (least, most float64) {
	values := r.values(of)
	if len(values) == 0 {
		return math.NaN(), math.NaN()
	}
	return values[0], values[len(values)-1]
}

func (r *row) values(of func(*Run) (float64, bool)) (values []float64) {
	if r == nil {
		return nil
	}
	for i := range r.runs {
		if v, known := of(&r.runs[i]); known {
			values = append(values, v)
		}
	}
	slices.Sort(values)
	return values
}
