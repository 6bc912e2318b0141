package proxier

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestOneIsAnsweredEachSecond, however many requests come. One whose client has gone takes no turn. One that would wait
// for too long gets an error that says so.
func TestOneIsAnsweredEachSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var at []time.Duration
		turns := newTurns(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			at = append(at, time.Since(began))
			time.Sleep(time.Second / 2) // reading the kernel
		}))
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		turns.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
		turns.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(gone, http.MethodGet, "/", nil))
		var asking sync.WaitGroup
		var mu sync.Mutex
		refused := 0
		for range 12 {
			asking.Go(func() {
				w := httptest.NewRecorder()
				turns.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
				mu.Lock()
				defer mu.Unlock()
				if w.Code == http.StatusTooManyRequests {
					refused++
				}
			})
		}
		asking.Wait()
		for i, after := range at {
			if want := time.Duration(i) * 3 * time.Second / 2; after != want {
				t.Errorf("the answer %d begins after %s, want %s", i, after, want)
			}
		}
		if len(at) != 8 || refused != 5 { // from 0.5 s on each waits for 10 s at most
			t.Errorf("%d are answered and %d refused, want 8 and 5", len(at), refused)
		}
	})
}
