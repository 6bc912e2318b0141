package proxier

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/engine"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/predecessor"
)

// succession is how this proxier comes after others on its node: alone, and in the place of the one whose place is to
// be taken.
type succession struct {
	lock   *predecessor.Lock
	proxy  predecessor.Proxy // empty when nobody's place is to be taken
	link   string
	ledger predecessor.Ledger
	log    *slog.Logger

	ctx           context.Context // ends the attempts to remove
	remove        func(context.Context, predecessor.Proxy, string) (predecessor.Leftovers, error)
	begun, warned bool
	// taken says that nothing of the predecessor's is left to be removed.
	taken atomic.Bool
	// alone calls a function while nothing is frozen, or not at all when the context ends first; nil calls it at once.
	alone func(context.Context, func()) bool
	// looked says that the log says what others have left.
	looked bool
}

// succeed returns when no other service proxy is alive on this node; until then nothing is touched. It waits for the
// end of the one whose place is to be taken, and refuses to start beside another. It logs what other proxies have left
// whose place is not to be taken.
func succeed(ctx context.Context, c Config, log *slog.Logger) (*succession, error) {
	lock, err := predecessor.Hold()
	if err != nil {
		return nil, err
	}
	if len(lock.Distrusted) > 0 {
		log.Warn("sockets of other users have the name of the lock; they keep nobody out", "sockets",
			strings.Join(lock.Distrusted, ", "))
	}
	s := &succession{
		lock: lock, proxy: predecessor.Proxy(c.TakeOver), link: c.Link, log: log, ctx: ctx, remove: predecessor.Remove,
	}
	if err := predecessor.Admit(ctx, s.proxy, predecessor.NewDetector().Alive, log); err != nil {
		s.release()
		return nil, err
	}
	if s.proxy != "" {
		if s.ledger, err = predecessor.ReadLedger(s.proxy); err != nil {
			s.release()
			return nil, err
		}
	}
	return s, nil
}

// release lets another ipvs-proxier run.
func (s *succession) release() {
	if err := s.lock.Release(); err != nil {
		s.log.Warn("cannot release the lock", "err", err)
	}
}

// owns reports whether the predecessor has made the virtual server: then it counts as ours, and goes when no Service
// wants it. After the first pass that leaves nothing to be done, what is not ours is somebody else's. It is called
// where Observe is.
func (s *succession) owns(id dataplane.VirtualServerID) bool { return !s.begun && s.ledger.Owns(id) }

// waits says what of the predecessor is still there; "" is nothing.
func (s *succession) waits() string {
	if s.proxy == "" || s.taken.Load() {
		return ""
	}
	return fmt.Sprintf("the rules of %s are not removed yet (--take-over)", s.proxy)
}

// warn logs what other proxies have left.
func (s *succession) warn(ctx context.Context) {
	others := slices.DeleteFunc(predecessor.Proxies(), func(p predecessor.Proxy) bool { return p == s.proxy })
	all, err := predecessor.Find(ctx, s.link, others...)
	if err != nil && ctx.Err() == nil {
		s.log.Warn("cannot find out whether other proxies have left rules", "err", err)
	}
	for _, left := range all {
		if !left.Empty() {
			s.log.Warn("a proxy that has stopped left rules, which may block traffic; --take-over removes them", "proxy",
				string(left.Proxy),
				"left", left.String(), "option", "--take-over="+string(left.Proxy))
		}
		s.warnByHand(left)
	}
}

func (s *succession) warnByHand(left predecessor.Leftovers) {
	for _, kept := range left.Kept {
		s.log.Warn("kept, because others use it", "proxy", string(left.Proxy), "kept", kept)
	}
	for _, command := range left.ByHand {
		s.log.Warn("to be removed by hand", "proxy", string(left.Proxy), "command", command)
	}
}

// Observe implements Observer. What other proxies have left is looked for after all Services are programmed, so that no
// Service waits for it. After the first pass that leaves nothing to be done, the predecessor's rules are removed.
func (s *succession) Observe(r engine.Report) {
	if r.Backlog > 0 {
		return
	}
	if !s.looked {
		s.looked = true
		go s.warn(s.ctx)
	}
	if s.proxy == "" || s.begun {
		return
	}
	if r.Error() != nil || r.Pending > 0 {
		if !s.warned {
			s.warned = true
			s.log.Warn("the predecessor's rules stay until a sync has programmed everything", "proxy", string(s.proxy))
		}
		return
	}
	s.begun = true
	go s.removeLeftovers()
}

// The times between attempts to remove what the predecessor has left.
const (
	removeAgain    = time.Second
	removeAgainMax = time.Minute
)

// thawed calls f as soon as nothing is frozen; it returns false when the program ends first.
func (s *succession) thawed(f func()) bool {
	if s.alone == nil {
		f()
		return true
	}
	return s.alone(s.ctx, f)
}

// removeLeftovers tries until it has succeeded. Passes go on meanwhile: nothing here is theirs.
func (s *succession) removeLeftovers() {
	for wait := removeAgain; ; wait = min(2*wait, removeAgainMax) {
		var left predecessor.Leftovers
		err := error(nil)
		if !s.thawed(func() { left, err = s.remove(s.ctx, s.proxy, s.link) }) {
			return
		}
		if err == nil {
			s.taken.Store(true)
			s.log.Info("took the place of the predecessor", "proxy", string(s.proxy), "removed", left.String())
			s.warnByHand(left)
			return
		}
		if s.ctx.Err() != nil {
			return
		}
		s.log.Warn("cannot remove all that the predecessor left; it is retried", "proxy", string(s.proxy), "after",
			wait.String(), "err", err)
		select {
		case <-s.ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// ignoredLinks are the dummy links of other proxies: their addresses are never the node's.
func ignoredLinks(ours string) []string {
	return slices.DeleteFunc(predecessor.Links(), func(name string) bool { return name == ours })
}
