package account

import (
	"math/bits"
	"time"
)

// Buckets of a Series. A run that would need more than maxBuckets of them gets wider ones: two become one, and the width
// doubles. 1024 buckets are 102 s at first, and 5.3 MB in each worker.
const (
	firstWidth = 100 * time.Millisecond
	maxBuckets = 1024
)

// Series is what happened over time: each measured request counts in the moment in which it ended.
type Series struct {
	Width   time.Duration
	Buckets []*Bucket // from the beginning of the window on; nil when nothing ended in it
}

// Bucket is what ended within one width of time.
type Bucket struct {
	Kinds   [kinds]int64
	latency coarse
}

// NewSeries returns an empty one.
func NewSeries() *Series { return &Series{Width: firstWidth} }

// Record enters a request that ended at that time after the beginning of the window.
func (s *Series) Record(at time.Duration, k Kind, latency time.Duration) {
	at = max(at, 0)
	for at/s.Width >= maxBuckets {
		s.widen()
	}
	b := s.bucket(int(at / s.Width))
	b.Kinds[k]++
	b.latency.record(latency)
}

func (s *Series) bucket(i int) *Bucket {
	for len(s.Buckets) <= i {
		s.Buckets = append(s.Buckets, nil)
	}
	if s.Buckets[i] == nil {
		s.Buckets[i] = &Bucket{}
	}
	return s.Buckets[i]
}

// widen makes one bucket of every two.
func (s *Series) widen() {
	s.Width *= 2
	for i, b := range s.Buckets {
		s.Buckets[i] = nil
		if b == nil {
			continue
		}
		if into := s.Buckets[i/2]; into != nil {
			into.merge(b)
		} else {
			s.Buckets[i/2] = b
		}
	}
	s.Buckets = s.Buckets[:(len(s.Buckets)+1)/2]
}

// Merge adds what o holds, which may come out wider.
func (s *Series) Merge(o *Series) {
	for o.Width < s.Width {
		o.widen()
	}
	for s.Width < o.Width {
		s.widen()
	}
	for i, b := range o.Buckets {
		if b != nil {
			s.bucket(i).merge(b)
		}
	}
}

func (b *Bucket) merge(o *Bucket) {
	for k, n := range o.Kinds {
		b.Kinds[k] += n
	}
	b.latency.merge(&o.latency)
}

// Percentile is the latency that p percent of the bucket's requests do not exceed, whatever became of them, to 1.6 %.
func (b *Bucket) Percentile(p float64) time.Duration { return b.latency.percentile(p) }

// coarse is a histogram that is small enough for one in each bucket: 32 steps in each power of two of nanoseconds, up to
// 2^48, which is more than highest. 64 Ki requests of one latency would overflow 16 bits; MaxCount of package schedule
// fits 32.
type coarse [(48 - coarseBits + 1) << coarseBits]uint32

const coarseBits = 5

func (c *coarse) record(v time.Duration) { c[min(coarseIndex(uint64(max(v, 0))), len(c)-1)]++ }

func coarseIndex(v uint64) int {
	exponent := max(bits.Len64(v)-1-coarseBits, 0)
	return exponent<<coarseBits + int(v>>exponent)
}

// coarseMiddle is in the middle of the values that share an index.
func coarseMiddle(i int) time.Duration {
	exponent := max(i>>coarseBits-1, 0)
	low := uint64(i-exponent<<coarseBits) << exponent
	return time.Duration(low + 1<<exponent/2)
}

func (c *coarse) merge(o *coarse) {
	for i, n := range o {
		c[i] += n
	}
}

func (c *coarse) percentile(p float64) time.Duration {
	var total, seen uint64
	for _, n := range c {
		total += uint64(n)
	}
	for i, n := range c {
		if seen += uint64(n); n > 0 && float64(seen)*100 >= p*float64(total) {
			return coarseMiddle(i)
		}
	}
	return 0
}
