package report

import (
	"slices"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/account"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/stats"
)

// Throughput is what mode stream carried within the window, over all connections.
type Throughput struct {
	Direction     string  `json:"direction"` // upload or download
	Bytes         int64   `json:"bytes"`
	BitsPerSecond float64 `json:"bits_per_s"`

	// Of the connections, in bits per second, and how evenly they shared (Jain's index).
	Least float64 `json:"least_bits_per_s"`
	Most  float64 `json:"most_bits_per_s"`
	Jain  float64 `json:"jain"`
}

func throughput(s Settings, r *account.Result) *Throughput {
	if s.Direction == "" {
		return nil
	}
	t := &Throughput{Direction: s.Direction}
	window := rate(r).Window
	var each, equal []float64
	for _, n := range r.Tally.Streams {
		t.Bytes += n
		each, equal = append(each, float64(n)), append(equal, 1)
	}
	if window == 0 || len(each) == 0 {
		return t
	}
	t.BitsPerSecond = float64(t.Bytes) * 8 / window
	t.Least, t.Most, t.Jain = slices.Min(each)*8/window, slices.Max(each)*8/window, stats.Jain(each, equal)
	return t
}
