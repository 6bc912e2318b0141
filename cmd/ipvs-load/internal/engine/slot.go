package engine

import (
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/wire"
)

type state uint8

const (
	idle       state = iota
	connecting       // SYN sent
	waiting          // request sent
)

// slot is one request in flight.
type slot struct {
	index      int
	generation uint32 // distinguishes the slot's successive requests
	state      state
	fd         int // -1 when the request uses a shared socket
	route      *route
	conn       *conn // the connection that stays, of modes rr and idle
	intended   time.Duration
	started    time.Duration
	connected  time.Duration
	syn        int // retransmitted SYNs
	read       int
	previous   *slot
	next       *slot
	buf        [wire.MaxLine]byte
}

// slots hands out slots and remembers those in use in the order of their start. The timeout is the same for all, so
// that is the order of their deadlines too, and no heap is needed.
type slots struct {
	all   []*slot
	free  []*slot
	limit int
	first *slot
	last  *slot
	inUse int
}

// available says whether take would find a slot.
func (s *slots) available() bool { return s.inUse < s.limit }

func (s *slots) take() *slot {
	var x *slot
	if n := len(s.free); n > 0 {
		x, s.free = s.free[n-1], s.free[:n-1]
	} else {
		x = &slot{index: len(s.all)}
		s.all = append(s.all, x)
	}
	x.generation++
	x.fd, x.conn, x.connected, x.syn, x.read = -1, nil, 0, 0, 0
	x.previous, x.next = s.last, nil
	if s.last != nil {
		s.last.next = x
	} else {
		s.first = x
	}
	s.last = x
	s.inUse++
	return x
}

func (s *slots) release(x *slot) {
	if x.previous != nil {
		x.previous.next = x.next
	} else {
		s.first = x.next
	}
	if x.next != nil {
		x.next.previous = x.previous
	} else {
		s.last = x.previous
	}
	x.previous, x.next, x.state = nil, nil, idle
	s.free = append(s.free, x)
	s.inUse--
}

// find returns the slot whose present request has that generation, nil when it is over.
func (s *slots) find(index int, generation uint32) *slot {
	if index < 0 || index >= len(s.all) {
		return nil
	}
	if x := s.all[index]; x.state != idle && x.generation == generation {
		return x
	}
	return nil
}

// The token of a request is its slot and generation, as 16 hexadecimal digits.
const tokenLength = 16

func appendToken(b []byte, x *slot) []byte {
	const hex = "0123456789abcdef"
	v := uint64(uint32(x.index))<<32 | uint64(x.generation)
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, hex[v>>shift&15])
	}
	return b
}

func parseToken(b []byte) (index int, generation uint32, ok bool) {
	if len(b) != tokenLength {
		return 0, 0, false
	}
	var v uint64
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9':
			v = v<<4 | uint64(c-'0')
		case c >= 'a' && c <= 'f':
			v = v<<4 | uint64(c-'a'+10)
		default:
			return 0, 0, false
		}
	}
	return int(v >> 32), uint32(v), true
}
