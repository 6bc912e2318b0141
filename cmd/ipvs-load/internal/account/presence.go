package account

import (
	"slices"
	"time"
)

// presence is when an endpoint answered: for each stayLength in which it did, the exact extremes.
type presence []stay

const stayLength = 100 * time.Millisecond

type stay struct {
	bucket        int64         // of the request's actual start
	firstFinished time.Duration // earliest completion
	lastStarted   time.Duration // latest actual start
}

func (p *presence) add(started, finished time.Duration) {
	bucket := int64(started / stayLength)
	// Answers come nearly in the order of their starts, so the bucket is near the end.
	i := len(*p)
	for i > 0 && (*p)[i-1].bucket > bucket {
		i--
	}
	if i > 0 && (*p)[i-1].bucket == bucket {
		s := &(*p)[i-1]
		s.firstFinished = min(s.firstFinished, finished)
		s.lastStarted = max(s.lastStarted, started)
		return
	}
	*p = slices.Insert(*p, i, stay{bucket, finished, started})
}

func (p *presence) merge(o presence) {
	for _, s := range o {
		i, found := slices.BinarySearchFunc(*p, s.bucket, func(s stay, bucket int64) int { return int(s.bucket - bucket) })
		if !found {
			*p = slices.Insert(*p, i, s)
			continue
		}
		known := &(*p)[i]
		known.firstFinished = min(known.firstFinished, s.firstFinished)
		known.lastStarted = max(known.lastStarted, s.lastStarted)
	}
}

// FirstAnswer is when the first answer from a watched endpoint was complete. Requests count that were started from that
// moment on and, to a stayLength, before until. It says whether there was one.
func (e *Endpoint) FirstAnswer(from, until time.Duration) (time.Duration, bool) {
	first, found := time.Duration(0), false
	for _, s := range e.presence {
		if s.lastStarted >= from && s.bucket < int64(until/stayLength) && s.firstFinished >= from &&
			(!found || s.firstFinished < first) {
			first, found = s.firstFinished, true
		}
	}
	return first, found
}

// LastStart is when the last request was started that a watched endpoint answered. Requests count that were started
// from that moment on and, to a stayLength, before until.
func (e *Endpoint) LastStart(from, until time.Duration) (time.Duration, bool) {
	last, found := time.Duration(0), false
	for _, s := range e.presence {
		if s.lastStarted >= from && s.bucket < int64(until/stayLength) {
			last, found = max(last, s.lastStarted), true
		}
	}
	return last, found
}
