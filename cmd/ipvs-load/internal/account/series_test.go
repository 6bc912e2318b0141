package account

import (
	"testing"
	"time"
)

func TestASeriesCountsARequestWhereItEnded(t *testing.T) {
	s := NewSeries()
	s.Record(50*ms, Answered, 2*ms)
	s.Record(99*ms, Refused, 1*ms)
	s.Record(310*ms, Answered, 8*ms)
	s.Record(-1, Answered, 2*ms) // the clock's granularity
	if len(s.Buckets) != 4 || s.Buckets[1] != nil || s.Buckets[2] != nil {
		t.Fatalf("buckets %v, want the first and the fourth", s.Buckets)
	}
	if b := s.Buckets[0]; b.Kinds[Answered] != 2 || b.Kinds[Refused] != 1 {
		t.Errorf("the first bucket has %v", b.Kinds)
	}
	if got := s.Buckets[3].Percentile(99); got < 7900*time.Microsecond || got > 8100*time.Microsecond {
		t.Errorf("p99 of one latency of 8 ms is %v", got)
	}
}

func TestALongSeriesGetsWiderBucketsAndLosesNothing(t *testing.T) {
	long, short := NewSeries(), NewSeries()
	const n = 5 * maxBuckets
	for i := range n {
		long.Record(time.Duration(i)*firstWidth, Answered, ms)
	}
	short.Record(time.Second, Timeout, time.Second)
	short.Merge(long)
	var answered, timeouts int64
	for _, b := range short.Buckets {
		answered += b.Kinds[Answered]
		timeouts += b.Kinds[Timeout]
	}
	if len(short.Buckets) > maxBuckets || short.Width != 8*firstWidth || answered != n || timeouts != 1 {
		t.Errorf("%d buckets of %v, %d answers, %d timeouts; want at most %d, %v, %d, 1",
			len(short.Buckets), short.Width, answered, timeouts, maxBuckets, 8*firstWidth, n)
	}
}

func TestPercentilesOfABucketAreTrueToItsSteps(t *testing.T) {
	for _, v := range []time.Duration{0, 1, 1000, 12_345, 127_999, 128_000, ms, 999 * ms, 48 * time.Hour} {
		var c coarse
		c.record(v)
		got := c.percentile(50)
		if slack := max(v/120, time.Microsecond); got < v-slack || got > v+slack {
			t.Errorf("%v comes back as %v", v, got)
		}
	}
	var c coarse
	for i := range 1000 {
		c.record(time.Duration(i+1) * ms)
	}
	if got := c.percentile(99); got < 970*ms || got > 1010*ms {
		t.Errorf("p99 of 1 ms to 1 s is %v", got)
	}
}
