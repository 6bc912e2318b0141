package source_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/source"
)

// apiServers starts n servers that answer with their number, and a client that asks them as one.
func apiServers(
	t *testing.T, n int,
) (*source.Servers, []*httptest.Server, func(method string) (string, error), *logLines) {
	t.Helper()
	var all []*httptest.Server
	var urls []string
	for i := range n {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%d %s %s", i, r.URL.Path, body)
		}))
		t.Cleanup(s.Close)
		all, urls = append(all, s), append(urls, s.URL)
	}
	log := &logLines{}
	servers, err := source.NewServers(urls, log.add)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: servers.Wrap(&http.Transport{DisableKeepAlives: true})}
	return servers, all, func(method string) (string, error) {
		request, err := http.NewRequestWithContext(t.Context(), method, "https://10.96.0.1:443/api",
			strings.NewReader("hello"))
		if err != nil {
			return "", err
		}
		response, err := client.Do(request)
		if err != nil {
			return "", err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if response.StatusCode != 200 {
			return response.Status, err
		}
		return string(body), err
	}, log
}

type logLines struct {
	mu   sync.Mutex
	text []string
}

func (l *logLines) add(text string, _ ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, text)
}

// TestServersFailOver: whatever host a request names, it goes to the server that answered last. When that one is gone
// it goes on to the next one, for reads and writes.
func TestServersFailOver(t *testing.T) {
	servers, all, ask, log := apiServers(t, 3)
	expect := func(method, want string) {
		t.Helper()
		if got, err := ask(method); err != nil || got != want {
			t.Errorf("%s: %q %v, want %q", method, got, err, want)
		}
	}
	expect("GET", "0 /api hello")
	all[0].Close()
	expect("POST", "1 /api hello") // it cannot have arrived at the first one
	expect("GET", "1 /api hello")
	all[1].Close()
	expect("GET", "2 /api hello")
	all[2].Close()
	if got, err := ask("GET"); err == nil {
		t.Errorf("nobody is there, and %q answers", got)
	}
	if _, since, err := servers.Reach(); since.IsZero() || err == nil {
		t.Errorf("not reported that no server answers: %v %v", since, err)
	}
	if want := "another API server is turned to|another API server is turned to|another API server is turned to|another API server is turned to|no API server answers; the dataplane stays as it is"; strings.Join(
		log.text, "|",
	) != want {
		t.Errorf("logged %q", log.text)
	}
}

// TestServersThatCannotServe are left for the next one, and a write that may have arrived is not repeated.
func TestServersThatCannotServe(t *testing.T) {
	var writes atomic.Int32
	var away atomic.Bool
	away.Store(true)
	sick := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			writes.Add(1)
			panic(http.ErrAbortHandler) // the connection breaks
		}
		if away.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer sick.Close()
	well := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "well") }))
	defer well.Close()
	log := &logLines{}
	servers, err := source.NewServers([]string{sick.URL, well.URL}, log.add)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: servers.Wrap(&http.Transport{DisableKeepAlives: true})}
	if _, err := client.Post("http://any/", "text/plain", strings.NewReader("x")); err == nil || writes.Load() != 1 {
		t.Errorf("a write that broke: %v, sent %d times", err, writes.Load())
	}
	// The failure has turned to the other server; back to the sick one, which cannot serve.
	well.Close()
	response, err := client.Get("http://any/")
	if err == nil && response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("%s", response.Status)
	}
	if _, since, _ := servers.Reach(); since.IsZero() {
		t.Error("503 and nobody else there, and it counts as an answer")
	}
	away.Store(false)
	for range 2 {
		if response, err = client.Get("http://any/"); err == nil {
			break
		}
	}
	if _, since, _ := servers.Reach(); err != nil || response.StatusCode != 200 || !since.IsZero() {
		t.Errorf("the server is back: %v %v", err, since)
	}
	if last := log.text[len(log.text)-1]; last != "the API answers again" {
		t.Errorf("logged %q at last", last)
	}
}

// TestServersLeaveTheAskersWish: a request that its asker cancels is no fault of the server.
func TestServersLeaveTheAskersWish(t *testing.T) {
	hangs := make(chan struct{})
	asked := make(chan struct{}, 2)
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked <- struct{}{}; <-hangs }))
	defer slow.Close()
	defer close(hangs)
	log := &logLines{}
	servers, err := source.NewServers([]string{slow.URL, slow.URL}, log.add)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://any/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (&http.Client{
		Transport: servers.Wrap(http.DefaultTransport),
	}).Do(request); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if len(log.text) != 0 {
		t.Errorf("logged %q", log.text)
	}
}

// TestABusyServerIsWaitedFor: a request waits for its turn, and the server says nothing of it while its /readyz
// answers. It is not sent again, neither to another server nor where there is no other one. A server that gives no sign
// of life, or says that it cannot serve, is left for another one.
func TestABusyServerIsWaitedFor(t *testing.T) {
	for name, c := range map[string]struct {
		servers int
		readyz  int // status; 0 is no answer
		longest time.Duration
		waits   bool
	}{
		"busy":                                {2, 200, time.Hour, true},
		"busy, and knows no anonymous":        {2, 401, time.Hour, true},
		"busy, alone":                         {1, 0, time.Hour, true},
		"silent":                              {2, 0, time.Hour, false},
		"cannot serve":                        {2, 500, time.Hour, false},
		"alive, and not in time for anything": {2, 200, 50 * time.Millisecond, false},
	} {
		t.Run(name, func(t *testing.T) {
			release, asked := make(chan struct{}), make(chan struct{}, 100)
			var lists atomic.Int32
			slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.URL.Path != "/readyz":
					lists.Add(1)
					if c.servers == 1 {
						asked <- struct{}{}
					}
					<-release
					fmt.Fprint(w, "slow")
				case c.readyz == 0:
					<-release
				default:
					asked <- struct{}{}
					w.WriteHeader(c.readyz)
				}
			}))
			defer slow.Close()
			other := httptest.NewServer(
				http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "other") }),
			)
			defer other.Close()
			var once sync.Once
			letGo := func() { once.Do(func() { close(release) }) }
			defer letGo()
			log := &logLines{}
			servers, err := source.NewServers([]string{slow.URL, other.URL}[:c.servers], log.add)
			if err != nil {
				t.Fatal(err)
			}
			servers.SetPatience(c.longest, time.Millisecond, 20*time.Millisecond)
			if c.readyz != 0 {
				servers.SetPatience(c.longest, time.Millisecond, time.Hour)
			}
			if c.waits {
				go func() {
					for range map[int]int{1: 1, 2: 3}[c.servers] { // /readyz was requested of it, and it answered
						<-asked
					}
					letGo()
				}()
			}
			response, err := (&http.Client{
				Transport: servers.Wrap(&http.Transport{DisableKeepAlives: true}),
			}).Get("http://any/api")
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			body, _ := io.ReadAll(response.Body)
			want := map[bool]string{true: "slow", false: "other"}[c.waits]
			// One that is not waited for may be left before the request has come to it.
			if string(body) != want || lists.Load() > 1 || c.waits && lists.Load() == 0 {
				t.Errorf("answered by %q, the slow one got %d requests; want %s and one", body, lists.Load(), want)
			}
			if turned := len(log.text) > 0; turned == c.waits {
				t.Errorf("logged %q", log.text)
			}
		})
	}
}
