package source

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
)

// selfSigned is a new certificate of 127.0.0.1, which is its own authority; of that the PEM, and that of its key.
func selfSigned(t *testing.T) (certificate *tls.Certificate, text, keyText []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: serial.String()},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyText = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, text, keyText
}

// TestAnotherAuthorityIsTrustedAtOnce: a server whose certificate is by another authority is refused until the file has
// that authority, and not for minutes longer.
func TestAnotherAuthorityIsTrustedAtOnce(t *testing.T) {
	var shown atomic.Pointer[tls.Certificate]
	certificate, authority, _ := selfSigned(t)
	shown.Store(certificate)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", runtime.ContentTypeProtobuf)
		_, _ = w.Write(written(t, serviceList(3), runtime.ContentTypeProtobuf))
	}))
	server.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return &tls.Config{Certificates: []tls.Certificate{*shown.Load()}}, nil
	}}
	server.StartTLS()
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "ca.pem")
	write := func(text []byte) {
		t.Helper()
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(authority)
	client, err := NewClient(&rest.Config{Host: server.URL, TLSClientConfig: rest.TLSClientConfig{CAFile: file}})
	if err != nil {
		t.Fatal(err)
	}
	list := func() error {
		_, err := client.Source(Selection{}).Services.(lister).ListWithContext(t.Context(), metav1.ListOptions{})
		return err
	}
	if err := list(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		certificate, authority, _ = selfSigned(t)
		shown.Store(certificate)
		server.CloseClientConnections()
		var unknown x509.UnknownAuthorityError
		if err := list(); !errors.As(err, &unknown) {
			t.Fatalf("with the old authority: %v", err)
		}
		write(authority)
		if err := list(); err != nil {
			t.Fatalf("with the new authority: %v", err)
		}
	}
}

// TestAnotherClientCertificateIsShownAtOnce: a server that does not accept the client's certificate any more answers
// Unauthorized, and keeps the connection. Once the files have another pair it is shown at once, and not when client-go
// reads them. A pair of which only one half is new is not shown. What showed the old one is closed.
func TestAnotherClientCertificateIsShownAtOnce(t *testing.T) {
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			var accepted atomic.Pointer[tls.Certificate]
			var connections atomic.Int64
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Proto != protocol {
					t.Errorf("asked by %s", r.Proto)
				}
				peers := r.TLS.PeerCertificates
				if len(peers) == 0 || !bytes.Equal(peers[0].Raw, accepted.Load().Certificate[0]) {
					w.WriteHeader(http.StatusUnauthorized)
					return
				}
				w.Header().Set("Content-Type", runtime.ContentTypeProtobuf)
				_, _ = w.Write(written(t, serviceList(3), runtime.ContentTypeProtobuf))
			}))
			server.EnableHTTP2 = protocol == "HTTP/2.0"
			server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
			server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
				switch state {
				case http.StateNew:
					connections.Add(1)
				case http.StateClosed:
					connections.Add(-1)
				}
			}
			server.StartTLS()
			t.Cleanup(server.Close)
			dir := t.TempDir()
			write := func(name string, text []byte) {
				t.Helper()
				if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			certificate, text, key := selfSigned(t)
			accepted.Store(certificate)
			write("client.pem", text)
			write("client.key", key)
			config := &rest.Config{Host: server.URL, TLSClientConfig: rest.TLSClientConfig{
				CAData:   pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
				CertFile: filepath.Join(dir, "client.pem"), KeyFile: filepath.Join(dir, "client.key"),
			}}
			servers, err := NewServers([]string{server.URL}, func(string, ...any) {})
			if err != nil {
				t.Fatal(err)
			}
			config.Wrap(servers.Wrap)
			client, err := NewClient(config)
			if err != nil {
				t.Fatal(err)
			}
			list := func() error {
				_, err := client.Source(Selection{}).Services.(lister).ListWithContext(t.Context(), metav1.ListOptions{})
				return err
			}
			if err := list(); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				certificate, text, key = selfSigned(t)
				accepted.Store(certificate)
				if err := list(); !apierrors.IsUnauthorized(err) {
					t.Fatalf("with the old pair: %v", err)
				}
				write("client.pem", text)
				if err := list(); !apierrors.IsUnauthorized(err) {
					t.Fatalf("with half of the new pair: %v", err)
				}
				write("client.key", key)
				if err := list(); err != nil {
					t.Fatalf("with the new pair: %v", err)
				}
			}
			for end := time.Now().Add(10 * time.Second); connections.Load() > 1; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("%d connections are open", connections.Load())
				}
			}
		})
	}
}
