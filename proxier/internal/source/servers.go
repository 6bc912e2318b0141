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

// headerTimeout is how long an API server may take to begin its answer before the next one is asked. Watches begin at once; the
// longest lists of large clusters take some seconds.
const headerTimeout = 15 * time.Second

// Servers are the API servers of a cluster. Each request goes to the one that answered last; when that one does not answer, or
// says that it cannot serve (503), the next one is asked. A watch that ends so begins again on the next one, by the reflectors'
// own doing. The names in the URLs are those that the servers' certificates have to show.
type Servers struct {
	urls []*url.URL
	tell func(text string, args ...any)

	mu      sync.Mutex
	current int
	// since is when servers stopped to answer, the zero time while one does; err is the last one's reason.
	since time.Time
	err   error
}

// NewServers returns the servers with these URLs, at least one, of scheme, host and port. tell is told, for a log, when another
// one is turned to, when none answers, and when one does again.
func NewServers(urls []string, tell func(text string, args ...any)) (*Servers, error) {
	s := &Servers{tell: tell}
	for _, text := range urls {
		u, err := url.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("API server: %w", err)
		}
		s.urls = append(s.urls, u)
	}
	return s, nil
}

// Reach tells which server is in use, and since when none answers (the zero time while one does) and why.
func (s *Servers) Reach() (server string, since time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.urls[s.current].String(), s.since, s.err
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

// RoundTrip implements http.RoundTripper.
func (t *serversTripper) RoundTrip(request *http.Request) (*http.Response, error) {
	for try := 1; ; try++ {
		at, server := t.servers.use()
		attempt, err := redirect(request, server)
		if err != nil {
			return nil, err
		}
		response, err := awaitHeaders(t.next, attempt)
		if err == nil && response.StatusCode != http.StatusServiceUnavailable {
			t.servers.answered()
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

// repeatable tells whether the request may be sent again: it only reads, or it cannot have arrived.
func repeatable(request *http.Request, err error) bool {
	var dial *net.OpError
	return request.Method == http.MethodGet || errors.As(err, &dial) && dial.Op == "dial" && (request.Body == nil || request.GetBody != nil)
}

// awaitHeaders sends the request and gives up when the answer does not begin in time. The answer itself may take as long as it likes.
func awaitHeaders(next http.RoundTripper, request *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(request.Context())
	timer := time.AfterFunc(headerTimeout, func() { cancel(fmt.Errorf("no answer within %s", headerTimeout)) })
	response, err := next.RoundTrip(request.WithContext(ctx))
	if !timer.Stop() && err != nil && request.Context().Err() == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		cancel(nil)
		return nil, err
	}
	response.Body = cancelBody{response.Body, func() { cancel(nil) }}
	return response, nil
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
