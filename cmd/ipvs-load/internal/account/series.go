package account

import (
	"math/bits"
	"slices"
	"time"
)

// BucketLength is the grain of a Series.
const BucketLength = 100 * time.Millisecond

// Series is what was completed in each tenth of a second of the window and behind it: how much, how long it took, and what
// went wrong. Everything is entered when it ends, because that is when a user would notice: a server that stalls shows as
// buckets without answers and then as one with long latencies.
type Series struct {
	from    time.Duration
	buckets []Bucket
}

// Bucket is one grain of a Series.
type Bucket struct {
	Kinds [kinds]int64
	Bytes int64  // of mode stream
	sizes []size // by class, in order
}

// size is how many latencies fell into a class of sizeClass. Few classes are touched in a tenth of a second, so a list of
// them is a hundredth of a histogram.
type size struct {
	class uint16
	count uint32
}

// NewSeries returns an empty one for a window that begins at from.
func NewSeries(from time.Duration) *Series { return &Series{from: from} }

func (s *Series) record(kind Kind, finished, latency time.Duration) {
	i := max(int((finished-s.from)/BucketLength), 0)
	for len(s.buckets) <= i {
		s.buckets = append(s.buckets, Bucket{})
	}
	s.buckets[i].Kinds[kind]++
	s.buckets[i].add(sizeClass(latency), 1)
}

func (b *Bucket) add(class uint16, n uint32) {
	i, found := slices.BinarySearchFunc(b.sizes, class, func(s size, class uint16) int { return int(s.class) - int(class) })
	if !found {
		b.sizes = slices.Insert(b.sizes, i, size{class: class})
	}
	b.sizes[i].count += n
}

// Carried adds bytes of mode stream at an offset of the run; those of the warm-up are left out.
func (s *Series) Carried(at time.Duration, bytes int64) {
	if at < s.from {
		return
	}
	i := int((at - s.from) / BucketLength)
	for len(s.buckets) <= i {
		s.buckets = append(s.buckets, Bucket{})
	}
	s.buckets[i].Bytes += bytes
}

// Merge adds what o holds; both began at the same time.
func (s *Series) Merge(o *Series) {
	for len(s.buckets) < len(o.buckets) {
		s.buckets = append(s.buckets, Bucket{})
	}
	for i := range o.buckets {
		s.buckets[i].merge(&o.buckets[i])
	}
}

func (b *Bucket) merge(o *Bucket) {
	b.Bytes += o.Bytes
	for k, n := range o.Kinds {
		b.Kinds[k] += n
	}
	for _, x := range o.sizes {
		b.add(x.class, x.count)
	}
}

// Buckets are those from the beginning of the window until the last completion, without gaps.
func (s *Series) Buckets() []Bucket { return s.buckets }

// Sum is one bucket of all that was completed from the one moment to before the other, in offsets of the run and to whole
// buckets.
func (s *Series) Sum(from, to time.Duration) Bucket {
	var sum Bucket
	for i := range s.buckets {
		if at := s.from + time.Duration(i)*BucketLength; at >= from.Truncate(BucketLength) && at < to {
			sum.merge(&s.buckets[i])
		}
	}
	return sum
}

// Answered is the number of answers.
func (b *Bucket) Answered() int64 { return b.Kinds[Answered] }

// Errors is the number of requests that ended without an answer.
func (b *Bucket) Errors() int64 {
	var n int64
	for _, k := range Errors() {
		n += b.Kinds[k]
	}
	return n
}

// Percentile is the latency that p percent of the bucket's requests, errors too, do not exceed, to 0.8 percent; 0 of an empty
// bucket. Within a class latencies are taken for evenly spread.
func (b *Bucket) Percentile(p float64) time.Duration {
	var total, below float64
	for _, s := range b.sizes {
		total += float64(s.count)
	}
	for _, s := range b.sizes {
		if n := float64(s.count); below+n >= total*p/100 {
			low, high := classBounds(s.class)
			return low + time.Duration(float64(high-low)*max(total*p/100-below, 0)/n)
		}
		below += float64(s.count)
	}
	return 0
}

// Classes of latencies: one for each microsecond up to linear, then linear for each doubling, of equal length. The last octave
// ends far beyond the longest timeout.
const (
	linearBits = 7
	linear     = 1 << linearBits
)

func sizeClass(d time.Duration) uint16 {
	us := uint64(max(d, 0) / time.Microsecond)
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
