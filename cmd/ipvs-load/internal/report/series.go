package report

import (
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/account"
)

// Quantile is a point of a distribution: that share of the requests, in percent, took at most Time microseconds.
type Quantile struct {
	Percentile float64 `json:"percentile"`
	Time       float64 `json:"us"`
}

// Series is the run over time. Its lists have one entry for each bucket of Width seconds, the first of which begins
// with the window; a request is in the bucket in which it ended. A kind of error that did not happen is absent. The
// percentiles are of every request in the bucket; where there was none they are 0.
type Series struct {
	Width    float64            `json:"bucket_s"`
	Answered []int64            `json:"answered"`
	Errors   map[string][]int64 `json:"errors"`
	P50      []float64          `json:"p50_us"`
	P99      []float64          `json:"p99_us"`
	Bytes    []int64            `json:"bytes,omitempty"` // of mode stream
}

func spectrum(d *account.Distribution) []Quantile {
	points := []Quantile{}
	for _, q := range d.Spectrum() {
		points = append(points, Quantile{q.Percentile, us(q.Value)})
	}
	return points
}

func series(from *account.Series) Series {
	n := len(from.Buckets)
	s := Series{
		Width: from.Width.Seconds(), Answered: make([]int64, n), Errors: map[string][]int64{},
		P50: make([]float64, n), P99: make([]float64, n),
	}
	for i, b := range from.Buckets {
		if b == nil {
			continue
		}
		s.Answered[i] = b.Answered()
		if b.Bytes > 0 {
			if s.Bytes == nil {
				s.Bytes = make([]int64, n)
			}
			s.Bytes[i] = b.Bytes
		}
		s.P50[i], s.P99[i] = us(b.Percentile(50)), us(b.Percentile(99))
		for _, k := range account.Errors() {
			if b.Kinds[k] == 0 {
				continue
			}
			if s.Errors[k.String()] == nil {
				s.Errors[k.String()] = make([]int64, n)
			}
			s.Errors[k.String()][i] = b.Kinds[k]
		}
	}
	return s
}

// kinds are the errors of a bucket; never nil.
func kinds(b *account.Bucket) map[string]int64 {
	m := map[string]int64{}
	for _, k := range account.Errors() {
		if n := b.Kinds[k]; n > 0 {
			m[k.String()] = n
		}
	}
	return m
}

// PhaseStats is what ended during one phase of the rate.
type PhaseStats struct {
	Phase
	At       float64 `json:"at_s"` // its beginning, from that of the window
	Achieved float64 `json:"achieved_per_s"`
	Errors   int64   `json:"errors"`
	P50      float64 `json:"p50_us"`
	P99      float64 `json:"p99_us"`
}

func phases(s Settings, from *account.Series) []PhaseStats {
	var all []PhaseStats
	at := time.Duration(0)
	for _, p := range s.Phases {
		length := time.Duration(p.Length * float64(time.Second))
		b := from.Sum(at, at+length)
		all = append(all, PhaseStats{
			Phase: p, At: at.Seconds(), Achieved: float64(b.Answered()) / p.Length, Errors: b.Errors(),
			P50: us(b.Percentile(50)), P99: us(b.Percentile(99)),
		})
		at += length
	}
	return all
}
