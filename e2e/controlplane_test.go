//go:build e2e

package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

const adminToken = "for-this-test-only"

// controlPlane is etcd and kube-apiserver on a host, each of which can be ended and started again.
type controlPlane struct {
	c            *cluster
	host         *topology.Host
	dir          string
	serverArgs   []string
	etcd, server *harness.Process
	// rest is how client, as an administrator, reaches the server on port 6443.
	rest   *rest.Config
	client kubernetes.Interface
}

// newControlPlane prepares both on the host, where everybody may do everything, or what the authorizers let them.
// Nothing runs yet.
func (c *cluster) newControlPlane(h *topology.Host, authorization ...string) *controlPlane {
	c.t.Helper()
	p := &controlPlane{c: c, host: h, dir: c.t.TempDir()}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	c.must(err)
	private := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	signing := p.file("service-account.key", string(pem.EncodeToMemory(private)))
	tokens := p.file("tokens.csv", adminToken+",admin,admin,system:masters\n")
	if len(authorization) == 0 {
		authorization = []string{"AlwaysAllow"}
	}
	p.serverArgs = []string{"--etcd-servers", "http://127.0.0.1:2379", "--service-cluster-ip-range", topology.ServiceCIDRs,
		"--service-account-issuer", "https://kubernetes.default.svc",
		"--service-account-key-file", signing, "--service-account-signing-key-file", signing,
		"--authorization-mode", strings.Join(authorization, ","), "--token-auth-file", tokens, "--bind-address", "0.0.0.0",
		"--advertise-address", "127.0.0.1", "--endpoint-reconciler-type", "none",
		"--disable-admission-plugins", "ServiceAccount"}
	p.rest = &rest.Config{
		Host: "https://127.0.0.1:6443", BearerToken: adminToken, TLSClientConfig: rest.TLSClientConfig{Insecure: true},
		// Ends what hangs. A shared machine keeps an answer longer than one would think.
		Timeout: harness.Patiently(3 * time.Minute),
		Dial: func(ctx context.Context, network, address string) (conn net.Conn, err error) {
			err = h.Do(func() error { conn, err = (&net.Dialer{}).DialContext(ctx, network, address); return err })
			return conn, err
		},
	}
	p.client, err = kubernetes.NewForConfig(p.rest)
	c.must(err)
	return p
}

// file writes a file of the control plane, in one step, and returns its path.
func (p *controlPlane) file(name, content string) string {
	p.c.t.Helper()
	path := filepath.Join(p.dir, name)
	p.c.must(os.WriteFile(path+".new", []byte(content), 0o600))
	p.c.must(os.Rename(path+".new", path))
	return path
}

func (p *controlPlane) start(program string, args ...string) *harness.Process {
	p.c.t.Helper()
	process, err := harness.Start(p.host, filepath.Join(peers, program), args...)
	p.c.must(err)
	p.c.t.Cleanup(func() {
		process.Kill()
		if output := process.Output(); p.c.t.Failed() {
			p.c.t.Logf("the end of %s's log:\n%s", program, output[max(0, len(output)-3000):])
		}
	})
	return process
}

// etcdData is where etcd keeps what it has.
func (p *controlPlane) etcdData() string { return filepath.Join(p.dir, "etcd") }

func (p *controlPlane) startEtcd() {
	p.c.t.Helper()
	p.etcd = p.start("etcd", "--data-dir", p.etcdData(),
		"--listen-client-urls", "http://127.0.0.1:2379", "--advertise-client-urls", "http://127.0.0.1:2379",
		"--listen-peer-urls", "http://127.0.0.1:2380", "--unsafe-no-fsync", "--log-level", "warn")
}

// startServer starts kube-apiserver on the port.
func (p *controlPlane) startServer(port int, more ...string) *harness.Process {
	p.c.t.Helper()
	own := []string{"--secure-port", fmt.Sprint(port), "--cert-dir", filepath.Join(p.dir, fmt.Sprint("certs-", port))}
	return p.start("kube-apiserver", slices.Concat(p.serverArgs, own, more)...)
}

// awaitServer waits until the server of port 6443 is ready.
func (p *controlPlane) awaitServer() {
	p.c.t.Helper()
	p.c.must(harness.Await(4*time.Minute, func() error {
		if p.server.Ended() {
			return harness.GiveUp(errors.New("kube-apiserver has ended"))
		}
		_, err := p.client.CoreV1().RESTClient().Get().AbsPath("/readyz").DoRaw(p.c.t.Context())
		return err
	}))
}

// kubeconfigFor is a kubeconfig for the bearer of the token.
func kubeconfigFor(token string) string {
	return kubeconfig("https://127.0.0.1:6443", "insecure-skip-tls-verify: true", "token: "+token)
}

// kubeconfig returns one for a server. trust and user are the fields with the authorities that the client trusts, and
// with the client's credentials.
func kubeconfig(server, trust, user string) string {
	return `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "` + server + `", ` + trust + `}}]
users: [{name: u, user: {` + user + `}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`
}

// selfSigned returns a new certificate for 127.0.0.1, which is its own authority, and its key, both as PEM.
func selfSigned() (certificate, key string, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return "", "", err
	}
	now := time.Now()
	template := &x509.Certificate{
		// Another name each time: two authorities of one name would differ in their keys only.
		SerialNumber: serial, Subject: pkix.Name{CommonName: "test " + serial.String()},
		NotBefore: now.Add(-24 * time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return "", "", err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", "", err
	}
	return pemOf(der), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})), nil
}

// pemOf is a certificate as PEM.
func pemOf(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
