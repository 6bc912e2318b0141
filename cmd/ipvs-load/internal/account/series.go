package account

import (
	"math/bits"
	"slices"
	"time"
)

// Buckets of a Series. A run that would need more than maxBuckets of them gets wider ones: two become one, and the
// width doubles. 1024 buckets are 102 s at first.
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
	Kinds   Counts
	Bytes   int64 // of mode stream
	latency coarse
}

// NewSeries returns an empty one.
func NewSeries() *Series { return &Series{Width: firstWidth} }

// Record enters a request that ended at that time after the beginning of the window.
func (s *Series) Record(at time.Duration, k Kind, latency time.Duration) {
	b := s.at(at)
	b.Kinds[k]++
	b.latency.record(latency)
}

// Carry enters bytes of mode stream at that time after the beginning of the window.
func (s *Series) Carry(at time.Duration, bytes int64) { s.at(at).Bytes += bytes }

func (s *Series) at(at time.Duration) *Bucket {
	at = max(at, 0)
	for at/s.Width >= maxBuckets {
		s.widen()
	}
	return s.bucket(int(at / s.Width))
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

// Sum is one bucket of all that ended from the one time to before the other after the beginning of the window, to whole
// buckets.
func (s *Series) Sum(from, to time.Duration) Bucket {
	var sum Bucket
	for i, b := range s.Buckets {
		if at := time.Duration(i) * s.Width; b != nil && at >= from.Truncate(s.Width) && at < to {
			sum.merge(b)
		}
	}
	return sum
}

// Length is the time from the beginning of the window to the end of the last bucket.
func (s *Series) Length() time.Duration { return time.Duration(len(s.Buckets)) * s.Width }

// Answered is the number of answers.
func (b *Bucket) Answered() int64 { return b.Kinds[Answered] }

// Errors is the number of requests that ended without an answer.
func (b *Bucket) Errors() int64 { return b.Kinds.Errors() }

func (b *Bucket) merge(o *Bucket) {
	b.Bytes += o.Bytes
	b.Kinds.add(&o.Kinds)
	b.latency.merge(&o.latency)
}

// Percentile is the latency that p percent of the bucket's requests do not exceed, whatever became of them, to 0.8 %.
func (b *Bucket) Percentile(p float64) time.Duration { return b.latency.percentile(p) }

// coarse is a histogram of few values: how many fell into each class of sizeClass, in the order of the classes. A
// bucket touches a few dozen of them.
type coarse []classCount

type classCount struct {
	class uint16
	count uint32
}

func (c *coarse) record(v time.Duration) { c.add(sizeClass(v), 1) }

func (c *coarse) add(class uint16, n uint32) {
	i, found := slices.BinarySearchFunc(*c, class,
		func(x classCount, class uint16) int { return int(x.class) - int(class) })
	if !found {
		*c = slices.Insert(*c, i, classCount{class: class})
	}
	(*c)[i].count += n
}

func (c *coarse) merge(o *coarse) {
	for _, x := range *o {
		c.add(x.class, x.count)
	}
}

// percentile takes the values of a class for evenly spread.
func (c *coarse) percentile(p float64) time.Duration {
	var total, below float64
	for _, x := range *c {
		total += float64(x.count)
	}
	for _, x := range *c {
		if n := float64(x.count); below+n >= total*p/100 {
			low, high := classBounds(x.class)
			return low + time.Duration(float64(high-low)*max(total*p/100-below, 0)/n)
		}
		below += float64(x.count)
	}
	return 0
}

// Classes of latencies: one for each microsecond up to linear, then linear for each doubling, of equal length. The last
// octave ends beyond highest.
const (
	linearBits = 7
	linear     = 1 << linearBits
)

func sizeClass(d time.Duration) uint16 {
	us := uint64(min(max(d, 0), highest) / time.Microsecond)
	if us < linear {
		return uint16(us)
	}
	octave := bits.Len64(us) - linearBits // 1 for linear to 2*linear-1
	return uint16(octave*linear + int(us>>(octave-1)) - linear)
}

// classBounds are the least latency of a class and that of the next.
func classBounds(class uint16) (low, high time.Duration) {
	if class < linear {
		return time.Duration(class) * time.Microsecond, time.Duration(class+1) * time.Microsecond
	}
	octave := int(class) / linear
	low = time.Duration(int(class)%linear+linear) << (octave - 1) * time.Microsecond
	return low, low + time.Microsecond<<(octave-1)
}
