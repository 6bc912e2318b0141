package source

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
)

// certificates is a RoundTripper that reads the files of certificates anew when one is refused: that of a server by us,
// or ours by a server, which answers Unauthorized and keeps the connection. client-go itself reads them every five
// minutes (0.37, transport/ca_rotation.go, cert_rotation.go), and ours for each new connection, too. So long nothing
// would arrive from a server whose authority was exchanged, or which does not accept our certificate any more.
type certificates struct {
	config *rest.Config

	mu   sync.Mutex
	used certificateFiles // by which next was made
	next http.RoundTripper
}

// certificateFiles are what the files have of authorities, of our certificate and of its key; nil where there is no
// file, or data of the configuration has precedence.
type certificateFiles struct{ authorities, certificate, key []byte }

// withCertificates returns the client that the config asks for.
func withCertificates(config *rest.Config) (*http.Client, error) {
	used, err := readCertificates(config)
	if err != nil {
		return nil, err
	}
	if used.authorities == nil && used.certificate == nil {
		return rest.HTTPClientFor(config)
	}
	if config.Dial == nil {
		// A transport that dials in its own way is not taken from client-go's cache, which would give the one that it
		// has.
		config = rest.CopyConfig(config)
		config.Dial = (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	return &http.Client{
		Transport: &certificates{config: config, used: used, next: client.Transport}, Timeout: client.Timeout,
	}, nil
}

// readCertificates reads those files that client-go reads again, too: it does where neither half of our pair is data.
func readCertificates(config *rest.Config) (have certificateFiles, err error) {
	if config.CAFile != "" && len(config.CAData) == 0 {
		if have.authorities, err = os.ReadFile(config.CAFile); err != nil {
			return have, err
		}
	}
	if config.CertFile == "" || config.KeyFile == "" || len(config.CertData)+len(config.KeyData) > 0 {
		return have, nil
	}
	if have.certificate, err = os.ReadFile(config.CertFile); err != nil {
		return have, err
	}
	have.key, err = os.ReadFile(config.KeyFile)
	return have, err
}

// RoundTrip implements http.RoundTripper.
func (c *certificates) RoundTrip(request *http.Request) (*http.Response, error) {
	c.mu.Lock()
	next := c.next
	c.mu.Unlock()
	response, err := next.RoundTrip(request)
	var refused *tls.CertificateVerificationError
	if err == nil && response.StatusCode != http.StatusUnauthorized || err != nil && !errors.As(err, &refused) {
		return response, err
	}
	renewed, failed := c.renew(next)
	if err != nil && failed != nil {
		return nil, errors.Join(err, failed)
	}
	if renewed == next {
		return response, err // what is wrong with our own pair the server has said
	}
	again, failed := repeat(request)
	if failed != nil {
		return response, err // what is sent next gets there
	}
	if response != nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10)) // so that the connection can be closed
		response.Body.Close()
	}
	utilnet.CloseIdleConnectionsFor(next)
	return renewed.RoundTrip(again)
}

// repeat returns the request as it can be sent for the second time.
func repeat(request *http.Request) (*http.Request, error) {
	again := request.Clone(request.Context())
	if request.Body == nil || request.Body == http.NoBody {
		return again, nil
	}
	if request.GetBody == nil {
		return nil, errors.New("its body is gone")
	}
	var err error
	again.Body, err = request.GetBody()
	return again, err
}

// renew returns a transport by what the files have now; the one that failed where that has not changed, or cannot be
// used.
func (c *certificates) renew(failed http.RoundTripper) (http.RoundTripper, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next != failed {
		return c.next, nil // somebody else has renewed it
	}
	now, err := readCertificates(c.config)
	if err != nil || now.same(&c.used) {
		return failed, err
	}
	if err := now.usable(); err != nil {
		return failed, err
	}
	next, err := rest.TransportFor(c.config)
	if err != nil {
		return failed, fmt.Errorf("certificates of %s: %w", c.config.Host, err)
	}
	c.used, c.next = now, next
	return next, nil
}

func (f *certificateFiles) same(other *certificateFiles) bool {
	return bytes.Equal(f.authorities, other.authorities) && bytes.Equal(f.certificate, other.certificate) &&
		bytes.Equal(f.key, other.key)
}

// usable says what is wrong with files that may be half written.
func (f *certificateFiles) usable() error {
	if f.authorities != nil && len(f.authorities) == 0 {
		return errors.New("the file of authorities is empty")
	}
	if f.certificate == nil {
		return nil
	}
	_, err := tls.X509KeyPair(f.certificate, f.key)
	return err
}
