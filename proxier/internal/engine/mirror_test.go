package engine

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// TestMirror: what the loop knows of the kernel can be had at any time: ahead of the first sync it says that there is
// none, what somebody else takes away is still in it, in a freeze too, and it is a copy.
func TestMirror(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := runFrozen(t, time.Now().Add(time.Hour), nil)
		if _, err := f.Mirror(t.Context()); err == nil || !strings.Contains(err.Error(), "the first sync is not done") {
			t.Errorf("ahead of the first sync: %v", err)
		}
		f.freeze(time.Time{})
		synctest.Wait()
		servers := func(when string, want int) *dataplane.State {
			t.Helper()
			s, err := f.Mirror(t.Context())
			if err != nil {
				t.Fatalf("%s: %v", when, err)
			}
			if len(s.VirtualServers) != want {
				t.Errorf("%s it has %d virtual servers, want %d", when, len(s.VirtualServers), want)
			}
			return s
		}
		s := servers("at first", 1)
		clear(s.VirtualServers)
		servers("when a copy was changed", 1)
		f.tampered = true
		clear(f.memory.State().VirtualServers)
		servers("when somebody else has taken it away", 1)
		f.freeze(time.Now().Add(time.Hour))
		servers("in a freeze", 1)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		for range 20 { // the loop may be quicker than the context
			if _, err := f.Mirror(ended); err != nil && !strings.Contains(err.Error(), "has not ended") {
				t.Errorf("who asks has gone: %v", err)
			}
		}
	})
}
