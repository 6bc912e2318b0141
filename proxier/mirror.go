package proxier

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/edge"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/engine"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/inputfile"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/iptables"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/socket"
)

// mirrored is what the daemon knows the kernel to hold.
type mirrored struct {
	// Version is the daemon's: another one may write rules in other words.
	Version string            `json:"version"`
	Objects dataplane.Listing `json:"objects"`
}

// mirror serves it. The copy is made by the loop, the words for it are not.
type mirror struct {
	version string
	loop    atomic.Pointer[engine.Loop] // nil until there is one
}

// ServeHTTP implements http.Handler.
func (m *mirror) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l := m.loop.Load()
	if l == nil {
		http.Error(w, "the daemon is starting", http.StatusServiceUnavailable)
		return
	}
	state, err := l.Mirror(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(mirrored{m.version, state.Listing(iptables.Words{})}) // the client has gone
}

// fetchMirror asks the daemon on a socket.
func fetchMirror(ctx context.Context, at string) (m mirrored, err error) {
	ctx, cancel := context.WithTimeout(ctx, edge.Operator().Answer)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://ipvs-proxier"+MirrorPath, nil)
	if err != nil {
		return m, err
	}
	response, err := socket.Client(at).Do(request)
	if err != nil {
		return m, unanswered(at, "diff", err)
	}
	defer response.Body.Close()
	answer := inputfile.Bounded(response.Body, maxStatus)
	switch {
	case response.StatusCode == http.StatusNotFound:
		return m, fmt.Errorf("the daemon on %s is of a version that does not say what it has in memory", at)
	case response.StatusCode != http.StatusOK:
		why, _ := io.ReadAll(answer)
		return m, fmt.Errorf("the daemon on %s: %s", at, Printable(strings.TrimSpace(string(why))))
	}
	if err := json.NewDecoder(answer).Decode(&m); err != nil {
		return m, fmt.Errorf("what %s answers is not of an ipvs-proxier: %w", at, err)
	}
	return m, nil
}
