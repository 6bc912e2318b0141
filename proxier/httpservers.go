package proxier

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/edge"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/socket"
)

// notListening is the reason of an address of the proxier's own on which it cannot serve.
var notListening = cluster.Reason{Name: "NotListening", OfNode: true}

// httpServer is an address on which the proxier serves, and what it serves there.
type httpServer struct {
	field, address string
	handler        http.Handler
	limits         edge.Limits
}

// rootUser is the only user that may use the socket.
const rootUser = 0

// httpServers opens the addresses on which the proxier serves. One that cannot be had is tried again for as long as the
// process lives: whoever binds port 10256 first, any user of the node, must not keep the node without Services.
type httpServers struct {
	log *slog.Logger
	// changed is called with the Problems before and now when they change.
	changed func(before, now []cluster.Problem)
	listen  func(address string) (net.Listener, error)
	// rest is the time to the second try; it doubles up to maxRest. A failure that stays is said again after each
	// remind.
	rest, maxRest, remind time.Duration

	mu     sync.Mutex
	failed map[string]cluster.Problem // by field
}

func newHTTPServers(log *slog.Logger, changed func(before, now []cluster.Problem)) *httpServers {
	listen := func(address string) (net.Listener, error) {
		if isSocket(address) {
			return socket.Listen(address, rootUser)
		}
		return net.Listen("tcp", address)
	}
	return &httpServers{
		log: log, changed: changed, listen: listen, rest: 2 * time.Second, maxRest: 30 * time.Second, remind: time.Hour,
		failed: map[string]cluster.Problem{},
	}
}

// serve serves on all addresses that are not empty. Those that are free are open when it returns. stop closes all, and
// returns when they are closed.
func (d *httpServers) serve(all []httpServer) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	for _, at := range all {
		if at.address == "" {
			continue
		}
		listener, err := d.listen(at.address)
		d.note(at, err)
		serving.Go(func() {
			if err != nil {
				listener = d.await(ctx, at, err)
			}
			if listener != nil {
				d.serveOn(ctx, at, listener)
			}
		})
	}
	return func() {
		cancel()
		serving.Wait()
	}
}

// await tries the address until it can be had; nil is the end of ctx.
func (d *httpServers) await(ctx context.Context, at httpServer, err error) net.Listener {
	said, noted := err.Error(), time.Now()
	for rest := d.rest; ; rest = min(2*rest, d.maxRest) {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(rest):
		}
		listener, err := d.listen(at.address)
		if err == nil {
			d.note(at, nil)
			d.log.Info("the address is free again, and is served", "field", at.field, "address", at.address)
			return listener
		}
		if now := time.Now(); err.Error() != said || now.Sub(noted) >= d.remind {
			said, noted = err.Error(), now
			d.note(at, err)
		}
	}
}

func (d *httpServers) serveOn(ctx context.Context, at httpServer, listener net.Listener) {
	server := edge.Server(at.handler, at.limits)
	defer context.AfterFunc(ctx, func() { server.Close() })()
	err := server.Serve(edge.Listen(listener, edge.NewCap(at.limits.Connections)))
	if !errors.Is(err, http.ErrServerClosed) {
		d.log.Error("http server ended", "address", at.address, "err", err)
	}
}

// note remembers that an address cannot be had, and says so; a nil error is that it can be had.
func (d *httpServers) note(at httpServer, err error) {
	d.mu.Lock()
	before := d.sorted()
	if err == nil {
		delete(d.failed, at.field)
	} else {
		d.failed[at.field] = cluster.Problem{Reason: notListening, Field: at.field, Message: fmt.Sprintf(
			"%v; Services are served all the same, and the address is tried again; is another proxy or program of this node there?", err)}
	}
	now := d.sorted()
	d.mu.Unlock()
	if err != nil {
		d.log.Error("cannot listen on this address; Services are served, and it is retried", "field", at.field, "address",
			at.address, "err", err)
	}
	if !slices.Equal(before, now) {
		d.changed(before, now)
	}
}

// problems returns what cannot be had now.
func (d *httpServers) problems() []cluster.Problem {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sorted()
}

func (d *httpServers) sorted() []cluster.Problem {
	var all []cluster.Problem
	for _, p := range d.failed {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b cluster.Problem) int { return strings.Compare(a.Field, b.Field) })
	return all
}
