package observe

import (
	"fmt"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/engine"
)

// contestedReason is why /readyz is bad while others undo objects of ours again and again; "" where nobody does.
func contestedReason(c engine.Contested) string {
	n := c.Count()
	if n == 0 {
		return ""
	}
	reason := c.First + " is undone again and again, and repaired only now and then"
	if n > 1 {
		reason = fmt.Sprintf("%d objects are undone again and again, and repaired only now and then, such as %s", n, c.First)
	}
	if c.Writer != "" {
		reason += "; " + c.Writer
	}
	return reason
}

// contested is contestedReason of the last pass.
func (b *Board) contested() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return contestedReason(b.last.Contested)
}
