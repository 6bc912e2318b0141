package proxier

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/engine"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/predecessor"
)

// TestLeftoversGoAfterACleanPass, once, and again until it has worked.
func TestLeftoversGoAfterACleanPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		calls := 0
		s := &succession{
			proxy: predecessor.KubeProxy, link: "kube-ipvs0", log: slog.New(slog.NewTextHandler(&log, nil)), ctx: t.Context(),
			remove: func(_ context.Context, proxy predecessor.Proxy, link string) (predecessor.Leftovers, error) {
				if calls++; calls < 4 {
					return predecessor.Leftovers{}, errors.New("busy")
				}
				return predecessor.Leftovers{Proxy: proxy, Chains: 11, Kept: []string{"set X"}}, nil
			},
		}
		s.Observe(engine.Report{Err: errors.New("blind")})
		s.Observe(engine.Report{Pending: 1})
		synctest.Wait()
		if calls != 0 {
			t.Error("removed before a pass was clean")
		}
		s.Observe(engine.Report{})
		s.Observe(engine.Report{})
		time.Sleep(time.Hour)
		synctest.Wait()
		if calls != 4 {
			t.Errorf("%d attempts, want 4", calls)
		}
		for text, times := range map[string]int{
			"stay until": 1, "busy": 3, "took the place": 1, "removed=\"11 chains\"": 1, "kept, because": 1,
		} {
			if got := strings.Count(log.String(), text); got != times {
				t.Errorf("the log says %q %d times, want %d:\n%s", text, got, times, log.String())
			}
		}
	})
}

// TestNobodysPlaceIsTaken without the option --take-over.
func TestNobodysPlaceIsTaken(t *testing.T) {
	s := &succession{log: slog.New(slog.DiscardHandler), ctx: t.Context(),
		remove: func(context.Context, predecessor.Proxy, string) (predecessor.Leftovers, error) {
			t.Error("removes")
			return predecessor.Leftovers{}, nil
		}}
	s.Observe(engine.Report{})
	if s.begun ||
		s.owns(dataplane.VirtualServerID{Addr: netip.MustParseAddr("10.96.0.1"), Port: 80, Protocol: cluster.TCP}) {
		t.Error("somebody's place is taken")
	}
}
