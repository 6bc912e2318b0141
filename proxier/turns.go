package proxier

import (
	"net/http"
	"time"
)

// turns lets requests through one after another, at most one in a period. Anybody who reaches the metrics address may
// send requests, and each status reads the kernel.
type turns struct {
	next http.Handler
	// period is from the end of an answer to the next one; patience is how long a request waits for its turn.
	period, patience time.Duration
	// turn holds when the last answer ended, unless somebody has the turn.
	turn chan time.Time
}

func newTurns(next http.Handler) *turns {
	t := &turns{next: next, period: time.Second, patience: 10 * time.Second, turn: make(chan time.Time, 1)}
	t.turn <- time.Time{}
	return t
}

// ServeHTTP implements http.Handler.
func (t *turns) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	patience := time.NewTimer(t.patience)
	defer patience.Stop()
	select {
	case last := <-t.turn:
		defer func() { t.turn <- last }()
		rest := time.NewTimer(time.Until(last.Add(t.period)))
		defer rest.Stop()
		select {
		case <-rest.C:
			t.next.ServeHTTP(w, r)
			last = time.Now()
		case <-r.Context().Done():
		}
	case <-patience.C:
		w.Header().Set("Retry-After", "10")
		http.Error(w, "too many requests: one is answered each second here; --socket has no such bound",
			http.StatusTooManyRequests)
	case <-r.Context().Done():
	}
}
