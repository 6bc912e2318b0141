package control

import (
	"fmt"
	"net/netip"
	"time"
)

// poller looks at the kernel again and again, no more than a fifth of the time, so that looking costs the proxy little.
// While something is known to be missing, it asks for that only, which costs some microseconds. It reads the whole
// table when that may be complete. Where nothing less than the whole table can be read, count and real are nil.
type poller struct {
	read  func() (table, error)                                               // the whole table
	count func() (n int, counted bool, err error)                             // of virtual servers
	real  func(of netip.AddrPort) (r []netip.AddrPort, found bool, err error) // of one virtual server

	longest time.Duration // one look and the rest before the next: the resolution of what is measured
}

const (
	restLeast = 500 * time.Microsecond
	restRatio = 4 // of the time that a look takes
	// What takes a cheap look long is that others have the processor.
	restCheap = 2 * time.Millisecond
	restDear  = 5 * time.Second // at most, between two looks that may start a process or ask the proxy
)

// patiently looks until look says that it is there, or give says to give up. It returns when the look began that showed
// it. Between two looks it rests, at most for the time given.
func (v *poller) patiently(
	look func() (there bool, err error), most time.Duration, give func() error,
) (time.Time, error) {
	for {
		began := time.Now()
		there, err := look()
		took := time.Since(began)
		if err != nil || there {
			return began, err
		}
		if err := give(); err != nil {
			return began, err
		}
		rest := min(max(restLeast, restRatio*took), most)
		v.longest = max(v.longest, took+rest)
		time.Sleep(rest)
	}
}

// one waits until a virtual server is as it is wanted.
func (v *poller) one(want virtualServer, give func() error) (time.Time, error) {
	if v.real == nil {
		return v.patiently(func() (bool, error) {
			t, err := v.read()
			return len(t.lacking([]virtualServer{want})) == 0, err
		}, restDear, give)
	}
	return v.patiently(func() (bool, error) {
		real, found, err := v.real(want.at)
		return found && same(real, want.real), err
	}, restCheap, give)
}

// all waits until the kernel has all virtual servers that are wanted. What was there once is taken to stay until the
// last look, which is at everything.
func (v *poller) all(want []virtualServer, give func() error) (time.Time, error) {
	if v.count == nil {
		var t table
		at, err := v.patiently(func() (there bool, err error) {
			t, err = v.read()
			return len(t.lacking(want)) == 0, err
		}, restDear, give)
		if err != nil {
			err = v.explain(t, want, err)
		}
		return at, err
	}
	at, err := v.patiently(func() (bool, error) {
		n, counted, err := v.count()
		return !counted || n >= len(want), err
	}, restCheap, give)
	if err != nil {
		t, _ := v.read()
		return at, v.explain(t, want, err)
	}
	began := time.Now()
	t, err := v.read()
	if err != nil {
		return began, err
	}
	// The table may have been complete since it was read. And it leaves lines out while another network namespace has
	// virtual servers, too (net/netfilter/ipvs/ip_vs_ctl.c, ip_vs_info_array, Linux 6.1). So each line that is missing
	// is asked for by itself, and the last one has the time.
	for _, one := range t.lacking(want) {
		when, err := v.one(one, give)
		if err != nil {
			t, _ := v.read()
			return when, v.explain(t, want, err)
		}
		at = when
	}
	return at, nil
}

func (v *poller) explain(t table, want []virtualServer, err error) error {
	virtual, real := t.missing(want)
	return fmt.Errorf("%w: %d virtual servers and %d real servers are missing or too many", err, virtual, real)
}
