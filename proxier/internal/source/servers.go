package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// patience is how long an API server may take to begin its answer.
type patience struct {
	// longest is for any server. By default one lets a request wait for its turn for a quarter of --request-timeout, a
	// minute, and ends it after the whole (k8s.io/apiserver 0.37, pkg/server/filters/priority-and-fairness.go,
	// getRequestWaitContext). To ask again earlier makes the queue longer, by every node of the cluster at once.
	longest time.Duration
	// silence is how often a server that says nothing gets a request for /readyz, where there is another server to use.
	// sign is how long the answer may take. /readyz waits in no queue (flow schema "probes", level "exempt").
	silence, sign time.Duration
}

func usual() patience {
	return patience{longest: 75 * time.Second, silence: 15 * time.Second, sign: 5 * time.Second}
}

// Servers are the API servers of a cluster. Each request goes to the one that answered last; when that one does not
// answer, or says that it cannot serve (503), the request goes to the next one. A watch that ends so begins again on
// the next one, by the reflectors' own doing. The names in the URLs are those that the servers' certificates have to
// show.
type Servers struct {
	patience
	urls []*url.URL
	tell func(text string, args ...any)

	mu       sync.Mutex
	current  int
	refusals refusals
	// since is when servers stopped to answer, the zero time while one does; err is the last one's reason.
	since time.Time
	err   error
}

// NewServers returns the servers with these URLs, at least one, of scheme, host and port. tell is called, for a log,
// when another one is used, when none answers, and when one does again.
func NewServers(urls []string, tell func(text string, args ...any)) (*Servers, error) {
	s := &Servers{patience: usual(), tell: tell}
	for _, text := range urls {
		u, err := url.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("API server: %w", err)
		}
		s.urls = append(s.urls, u)
	}
	return s, nil
}

// Reach says which server is in use, and since when none answers (the zero time while one does) and why.
func (s *Servers) Reach() (server string, since time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.urls[s.current].String(), s.since, s.err
}

// Refusals returns what the servers refuse to do for us, each with its reason.
func (s *Servers) Refusals() []string { return s.refusals.all() }

func (s *Servers) noteRefusal(request *http.Request, server *url.URL, status int) {
	switch refused, over := s.refusals.answered(request.Method, server, request.URL, status); {
	case refused != "":
		s.tell("the API refuses a request; the dataplane stays as it is", "err", refused)
	case over != "":
		s.tell("the API refuses it no longer", "request", over)
	}
}

// Named lets r know the servers' addresses.
func (s *Servers) Named(r *Reached) {
	for _, u := range s.urls {
		r.Name(u)
	}
}

// Wrap returns a RoundTripper that sends requests to one of the servers by way of next, whatever host they name.
func (s *Servers) Wrap(next http.RoundTripper) http.RoundTripper { return &serversTripper{s, next} }

type serversTripper struct {
	servers *Servers
	next    http.RoundTripper
}

// WrappedRoundTripper is what client-go closes idle connections by.
func (t *serversTripper) WrappedRoundTripper() http.RoundTripper { return t.next }

// RoundTrip implements http.RoundTripper.
func (t *serversTripper) RoundTrip(request *http.Request) (*http.Response, error) {
	for try := 1; ; try++ {
		at, server := t.servers.use()
		attempt, err := redirect(request, server)
		if err != nil {
			return nil, err
		}
		response, err := t.awaitHeaders(attempt)
		if err == nil && response.StatusCode != http.StatusServiceUnavailable {
			t.servers.answered()
			t.servers.noteRefusal(request, server, response.StatusCode)
			return response, nil
		}
		if request.Context().Err() != nil {
			return response, err // the asker gave up
		}
		reason := err
		if reason == nil {
			reason = errors.New(response.Status)
		}
		again := try < len(t.servers.urls) && repeatable(request, err)
		t.servers.failed(at, reason, !again)
		if !again {
			return response, err
		}
		if response != nil {
			response.Body.Close()
		}
	}
}

// redirect returns the request as it goes to the server.
func redirect(request *http.Request, server *url.URL) (*http.Request, error) {
	attempt := request.Clone(request.Context())
	attempt.URL.Scheme, attempt.URL.Host, attempt.Host = server.Scheme, server.Host, ""
	if request.GetBody != nil {
		body, err := request.GetBody()
		if err != nil {
			return nil, err
		}
		attempt.Body = body
	}
	return attempt, nil
}

// repeatable reports whether the request may be sent again: it only reads, or it cannot have arrived.
func repeatable(request *http.Request, err error) bool {
	var dial *net.OpError
	return request.Method == http.MethodGet ||
		errors.As(err, &dial) && dial.Op == "dial" && (request.Body == nil || request.GetBody != nil)
}

// awaitHeaders sends the request and gives up when the answer does not begin in time. The answer itself may take as
// long as it likes.
func (t *serversTripper) awaitHeaders(request *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(request.Context())
	begun, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		if err := t.watch(begun, request.URL); err != nil {
			cancel(err)
		}
	}()
	response, err := t.next.RoundTrip(request.WithContext(ctx))
	close(begun)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && request.Context().Err() == nil {
			err = cause
		}
		cancel(nil)
		return nil, err
	}
	<-watched
	if ctx.Err() != nil && request.Context().Err() == nil { // given up in the moment in which it began
		response.Body.Close()
		return nil, context.Cause(ctx)
	}
	response.Body = cancelBody{response.Body, func() { cancel(nil) }}
	return response, nil
}

// watch returns nil when the answer has begun, and an error when it is not to be waited for any longer.
func (t *serversTripper) watch(begun <-chan struct{}, server *url.URL) error {
	end := time.NewTimer(t.servers.longest)
	defer end.Stop()
	var silent <-chan time.Time
	if len(t.servers.urls) > 1 {
		tick := time.NewTicker(t.servers.silence)
		defer tick.Stop()
		silent = tick.C
	}
	for {
		select {
		case <-begun:
			return nil
		case <-end.C:
			return fmt.Errorf("no answer within %s", t.servers.longest)
		case <-silent:
			if err := t.lives(begun, server); err != nil {
				return err
			}
		}
	}
}

// lives asks the server for a sign of life: any answer that does not say that it cannot serve.
func (t *serversTripper) lives(begun <-chan struct{}, server *url.URL) error {
	ctx, cancel := context.WithTimeout(context.Background(), t.servers.sign)
	defer cancel()
	asked := make(chan struct{})
	defer close(asked)
	go func() {
		select {
		case <-begun:
			cancel()
		case <-asked:
		}
	}()
	at := url.URL{Scheme: server.Scheme, Host: server.Host, Path: "/readyz"}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return fmt.Errorf("BUG: ask %s: %w", at.String(), err)
	}
	response, err := t.next.RoundTrip(request)
	select {
	case <-begun:
		err = nil
	default:
		if err != nil {
			return fmt.Errorf("no answer within %s, nor from /readyz: %w", t.servers.silence, err)
		}
	}
	if response == nil {
		return nil
	}
	defer response.Body.Close()
	if response.StatusCode >= http.StatusInternalServerError {
		return fmt.Errorf("no answer within %s, and /readyz says %s", t.servers.silence, response.Status)
	}
	return nil
}

// cancelBody lets go of a request when its answer is read.
type cancelBody struct {
	io.ReadCloser
	done func()
}

func (b cancelBody) Close() error {
	defer b.done()
	return b.ReadCloser.Close()
}

func (s *Servers) use() (int, *url.URL) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current, s.urls[s.current]
}

func (s *Servers) answered() {
	s.mu.Lock()
	since := s.since
	s.since, s.err = time.Time{}, nil
	server := s.urls[s.current]
	s.mu.Unlock()
	if !since.IsZero() {
		s.tell("the API answers again", "server", server.String(), "away", time.Since(since).Round(time.Second).String())
	}
}

// failed turns to the next server, unless somebody has done so meanwhile; last says that no other one was left to try.
func (s *Servers) failed(at int, reason error, last bool) {
	s.mu.Lock()
	server := s.urls[at]
	turned := s.current == at && len(s.urls) > 1
	if turned {
		s.current = (at + 1) % len(s.urls)
	}
	next := s.urls[s.current]
	s.err = fmt.Errorf("%s: %w", server, reason)
	first := last && s.since.IsZero()
	if first {
		s.since = time.Now()
	}
	s.mu.Unlock()
	switch {
	case first:
		s.tell("no API server answers; the dataplane stays as it is", "server", server.String(), "err", reason.Error())
	case turned:
		s.tell("another API server is turned to", "from", server.String(), "to", next.String(), "err", reason.Error())
	}
}
