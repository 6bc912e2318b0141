package source

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"k8s.io/client-go/rest"
)

// authority is a RoundTripper that reads the file of authorities anew when a server's certificate is refused. client-go
// itself reads it every five minutes (0.37, transport/ca_rotation.go): so long nothing would arrive from a server whose
// authority was exchanged.
type authority struct {
	config *rest.Config

	mu   sync.Mutex
	used []byte // of the file, by which current was made
	next http.RoundTripper
}

// withAuthority returns the client that the config asks for.
func withAuthority(config *rest.Config) (*http.Client, error) {
	if config.CAFile == "" || len(config.CAData) > 0 { // which has precedence
		return rest.HTTPClientFor(config)
	}
	if config.Dial == nil {
		// A transport that dials in its own way is not taken from client-go's cache, which would give the one that it has.
		config = rest.CopyConfig(config)
		config.Dial = (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	}
	used, err := os.ReadFile(config.CAFile)
	if err != nil {
		return nil, err
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	return &http.Client{
		Transport: &authority{config: config, used: used, next: client.Transport}, Timeout: client.Timeout,
	}, nil
}

// RoundTrip implements http.RoundTripper.
func (a *authority) RoundTrip(request *http.Request) (*http.Response, error) {
	a.mu.Lock()
	next := a.next
	a.mu.Unlock()
	response, err := next.RoundTrip(request)
	var refused *tls.CertificateVerificationError
	if !errors.As(err, &refused) {
		return response, err
	}
	renewed, failed := a.renew(next)
	if failed != nil {
		return nil, errors.Join(err, failed)
	}
	if renewed == next {
		return nil, err
	}
	again := request.Clone(request.Context())
	if request.Body != nil && request.GetBody == nil {
		return nil, err // what is sent next gets there
	}
	if request.GetBody != nil {
		if again.Body, failed = request.GetBody(); failed != nil {
			return nil, errors.Join(err, failed)
		}
	}
	return renewed.RoundTrip(again)
}

// renew returns a transport by what the file has now; the one that failed where that has not changed.
func (a *authority) renew(failed http.RoundTripper) (http.RoundTripper, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.next != failed {
		return a.next, nil // somebody else has renewed it
	}
	now, err := os.ReadFile(a.config.CAFile)
	if err != nil || len(now) == 0 || bytes.Equal(now, a.used) {
		return failed, err
	}
	next, err := rest.TransportFor(a.config)
	if err != nil {
		return failed, fmt.Errorf("authorities of %s: %w", a.config.CAFile, err)
	}
	if closer, is := failed.(interface{ CloseIdleConnections() }); is {
		closer.CloseIdleConnections()
	}
	a.used, a.next = now, next
	return next, nil
}
