//go:build e2e

package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
)

// authority makes client certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// pair is a certificate with its key, both as PEM.
type pair struct{ certificate, key string }

// lifeOfPairs is longer than any run.
const lifeOfPairs = 7 * 24 * time.Hour

func newAuthority() (a authority, err error) {
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return a, err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return a, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "clients " + serial.String()},
		NotBefore: now.Add(-24 * time.Hour), NotAfter: now.Add(lifeOfPairs),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		return a, err
	}
	a.certificate, err = x509.ParseCertificate(der)
	return a, err
}

// pair makes one for the proxier that ends after life.
func (a authority) pair(life time.Duration) (pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return pair{}, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: account},
		NotBefore: now.Add(-24 * time.Hour), NotAfter: now.Add(life),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		return pair{}, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return pair{}, err
	}
	return pair{pemOf(der), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))}, nil
}

// exchangeClientAuthority has the server trust another authority of client certificates. One that runs takes it up by
// itself.
func (a *chaosAPI) exchangeClientAuthority() {
	a.c.t.Helper()
	var err error
	a.clients, err = newAuthority()
	a.c.must(err)
	a.file("client-ca.pem", pemOf(a.clients.certificate.Raw))
}

// bringPair puts another pair, which the server accepts for so long, into the proxier's files.
func (a *chaosAPI) bringPair(life time.Duration) {
	a.c.t.Helper()
	var err error
	a.pair, err = a.clients.pair(life)
	a.c.must(err)
	a.file("client.key", a.pair.key)
	a.file("client.pem", a.pair.certificate)
}

// awaitPairRefused waits until the server does not accept the pair that is in the proxier's files.
func (a *chaosAPI) awaitPairRefused() {
	a.c.t.Helper()
	config := rest.CopyConfig(a.rest)
	config.BearerToken = ""
	config.CertData, config.KeyData = []byte(a.pair.certificate), []byte(a.pair.key)
	as, err := kubernetes.NewForConfig(config)
	a.c.must(err)
	a.try(func(ctx context.Context) error {
		_, err := as.CoreV1().Services("default").List(ctx, metav1.ListOptions{Limit: 1})
		switch {
		case apierrors.IsUnauthorized(err):
			return nil
		case err == nil:
			err = errStill("accepted")
		}
		return err
	})
}

// authenticate has the proxier start with a token or a client certificate, where it has the other one.
func (c *chaos) authenticate(byCertificate bool) {
	if c.api.byCertificate == byCertificate {
		return
	}
	c.api.byCertificate = byCertificate
	c.api.kubeconfig()
	c.end()
	c.must(c.proxier.AwaitReady())
}

// otherPair has the server accept the proxier's client certificate no longer, because it trusts another authority or
// because the certificate expires, and brings another pair a while later.
func (c *chaos) otherPair() {
	c.authenticate(true)
	expires := c.r.IntN(2) == 0
	c.staysAsItIs(20*time.Second, func() {
		if expires {
			c.api.bringPair(harness.Patiently(2 * time.Second))
			c.api.relay.Cut() // a new connection shows it
		} else {
			c.api.exchangeClientAuthority()
		}
		c.api.awaitPairRefused()
		c.api.relay.Cut() // a new connection is authenticated anew
		c.set("others", others(c.r, c.one, c.two)...)
	}, func() { c.api.bringPair(lifeOfPairs) })
}
