package spec

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/engine"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/schedule"
)

// Load is one run as it was asked for. The zero value of a field is its default. docs/ipvs-load.md describes every
// field by the name of its flag; in a scenario file the names are those of the JSON tags.
type Load struct {
	Mode    string   `json:"mode"`
	Targets []string `json:"targets"` // each one target, or several with commas between them

	Rate     Rate   `json:"rate"`     // of an open loop
	Closed   bool   `json:"closed"`   // without a rate: Concurrency requests at a time
	Arrivals string `json:"arrivals"` // constant or poisson
	Seed     uint64 `json:"seed"`

	Duration Duration `json:"duration"`
	Count    int64    `json:"count"`
	Warmup   Duration `json:"warmup"`
	Timeout  Duration `json:"timeout"`

	Concurrency    int      `json:"concurrency"`
	Connections    int      `json:"connections"`
	Interval       Duration `json:"interval"` // of idle: each connection speaks once in it
	ConnectionsMax int      `json:"connectionsMax"`
	Workers        int      `json:"workers"`

	Sources   []string `json:"sources"` // as Targets
	UDPPort   string   `json:"udpPort"`
	Close     string   `json:"close"`
	Direction string   `json:"direction"`

	Weights       map[string]float64 `json:"weights"`
	MaxErrorRatio float64            `json:"maxErrorRatio"`
	Events        []Event            `json:"events"`
}

// Event is something that is done while load runs.
type Event struct {
	At       Duration `json:"at"` // from the beginning of the window
	Name     string   `json:"name"`
	Kind     string   `json:"kind"` // one of report.EventKinds
	Endpoint string   `json:"endpoint"`
	Command  string   `json:"command"` // by sh; without one the event is only noted
}

// Defaults.
const (
	DefaultDuration = 10 * time.Second
	DefaultTimeout  = 5 * time.Second
	DefaultInterval = 10 * time.Second

	// DefaultConnectionsMax is a third of the ports that the kernel gives out (net.ipv4.ip_local_port_range holds
	// 28,232). So a target that does not answer does not cost the machine all of them.
	DefaultConnectionsMax = 10_000

	// DefaultConnections are those of rr, idle and stream.
	DefaultConnections = 10
)

// withDefaults fills in every default that another field has a say in.
func (l Load) withDefaults() (Load, error) {
	set(&l.Arrivals, schedule.Constant.String())
	set(&l.UDPPort, string(engine.Rotate))
	set(&l.Close, string(engine.FIN))
	set(&l.Timeout, Duration(DefaultTimeout))
	set(&l.Seed, 1)
	mode := engine.Mode(l.Mode)
	if mode == engine.Stream {
		set(&l.Direction, string(engine.Download))
		l.Closed = true
	}
	switch mode {
	case engine.RR, engine.Idle, engine.Stream:
		if l.Closed && l.Concurrency != 0 && l.Connections == 0 {
			l.Connections = l.Concurrency
		}
		set(&l.Connections, DefaultConnections)
	}
	if mode == engine.Idle && !l.Closed {
		if l.Rate.isSet() {
			return l, fmt.Errorf("mode idle has no rate: each of its connections speaks once in an interval")
		}
		set(&l.Interval, Duration(DefaultInterval))
		if l.Interval <= 0 {
			return l, fmt.Errorf("interval %v is out of range; allowed is more than 0", l.Interval)
		}
		l.Rate.PerSecond = float64(l.Connections) / time.Duration(l.Interval).Seconds()
	} else if l.Interval != 0 {
		return l, fmt.Errorf("interval %v is for mode idle with an open loop", l.Interval)
	}
	if l.Duration == 0 && l.Count == 0 && len(l.Rate.Phases) == 0 {
		l.Duration = Duration(DefaultDuration)
	}
	if l.Closed {
		switch {
		case l.Concurrency == 0 && l.Connections == 0:
			return l, fmt.Errorf("a closed loop needs a concurrency: how many requests are open at a time")
		case l.Connections == 0:
			l.ConnectionsMax = l.Concurrency
		}
		set(&l.Workers, 1)
	} else if !l.Rate.isSet() {
		return l, fmt.Errorf("rate 0 is out of range: an open loop needs a rate of requests per second, such as 1000, or phases of it, such as 100:10s,100..1000:1m")
	} else if l.Concurrency != 0 {
		return l, fmt.Errorf("concurrency %d is for a closed loop; an open one starts requests by its rate", l.Concurrency)
	}
	if l.Workers == 0 {
		l.Workers = engine.DefaultWorkers(l.Rate.Peak(), engine.UDPPort(l.UDPPort))
		if l.Connections > 0 {
			l.Workers = min(l.Workers, l.Connections)
		}
	}
	if l.ConnectionsMax == 0 {
		limit, err := engine.FileLimit()
		if err != nil {
			return l, err
		}
		l.ConnectionsMax = min(DefaultConnectionsMax, limit)
	}
	return l, nil
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Duration is a time.Duration that JSON and YAML write as "10s".
type Duration time.Duration

func (d Duration) String() string { return time.Duration(d).String() }

// MarshalJSON writes what UnmarshalJSON reads.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads "1m30s".
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("%s is not a length of time, such as \"10s\" or \"1m30s\"", b)
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("%q is not a length of time, such as \"10s\" or \"1m30s\"", s)
	}
	*d = Duration(v)
	return nil
}
