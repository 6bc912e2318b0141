package report

import (
	"math"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/account"
)

// Series is what was completed in each bucket of time, from the beginning of the window until the last request had its outcome.
// Buckets in which nothing was completed are there too. Percentiles are to 0.8 percent and count errors.
type Series struct {
	Bucket float64 `json:"bucket_s"`
	Points []Point `json:"points"`
}

// Point is one bucket.
type Point struct {
	At       float64          `json:"at_s"` // its beginning, from that of the window
	Answered int64            `json:"answered"`
	P50      float64          `json:"p50_us"`
	P99      float64          `json:"p99_us"`
	Errors   map[string]int64 `json:"errors,omitempty"`
	Bytes    int64            `json:"bytes,omitempty"` // of mode stream
}

func series(r *account.Result) Series {
	s := Series{Bucket: account.BucketLength.Seconds(), Points: []Point{}}
	for i, b := range r.Tally.Series.Buckets() {
		s.Points = append(s.Points, Point{
			At: math.Round(float64(i)*s.Bucket*1e6) / 1e6, Answered: b.Answered(), P50: us(b.Percentile(50)), P99: us(b.Percentile(99)), Errors: kinds(&b), Bytes: b.Bytes,
		})
	}
	return s
}

func kinds(b *account.Bucket) map[string]int64 {
	var m map[string]int64
	for _, k := range account.Errors() {
		if n := b.Kinds[k]; n > 0 {
			if m == nil {
				m = map[string]int64{}
			}
			m[k.String()] = n
		}
	}
	return m
}

// PhaseStats is what was completed during one phase of the rate.
type PhaseStats struct {
	Phase
	At       float64 `json:"at_s"` // its beginning, from that of the window
	Achieved float64 `json:"achieved_per_s"`
	Errors   int64   `json:"errors"`
	P50      float64 `json:"p50_us"`
	P99      float64 `json:"p99_us"`
}

func phases(s Settings, r *account.Result) []PhaseStats {
	var all []PhaseStats
	at := time.Duration(0)
	for _, p := range s.Phases {
		length := time.Duration(p.Length * float64(time.Second))
		b := r.Tally.Series.Sum(r.Window.From+at, r.Window.From+at+length)
		all = append(all, PhaseStats{
			Phase: p, At: at.Seconds(), Achieved: float64(b.Answered()) / p.Length, Errors: b.Errors(),
			P50: us(b.Percentile(50)), P99: us(b.Percentile(99)),
		})
		at += length
	}
	return all
}
