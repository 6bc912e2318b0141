package engine

import (
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/account"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/schedule"
)

// closedLoop says for one worker whether it may start another request, where no schedule says when.
type closedLoop struct {
	window         account.Window
	left           int64 // measured requests yet to start; negative without a count
	number, stride int64
	done           bool
}

func newClosedLoop(p schedule.Plan, worker int, window account.Window) *closedLoop {
	if !p.Closed {
		return nil
	}
	c := &closedLoop{window: window, left: -1, number: int64(worker), stride: int64(p.Workers)}
	if p.Count > 0 {
		c.left = p.Count / c.stride
		if c.number < p.Count%c.stride {
			c.left++
		}
		c.done = c.left == 0
	}
	return c
}

// next is the number of the request to start at that time, if there is one.
func (c *closedLoop) next(now time.Duration) (int64, bool) {
	if c.done || now < 0 {
		return 0, false
	}
	switch {
	case now >= c.window.To:
		c.done = true
		return 0, false
	case c.left > 0 && now >= c.window.From:
		c.left--
		c.done = c.left == 0
	}
	number := c.number
	c.number += c.stride
	return number, true
}
