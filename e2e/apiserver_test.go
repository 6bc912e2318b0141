//go:build e2e

package e2e

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

const adminToken = "for-this-test-only"

// startAPIServer starts etcd and kube-apiserver on the host, where everybody may do everything, or what RBAC lets them. It
// returns a kubeconfig file, a client, and what ends the API server.
func (c *cluster) startAPIServer(h *topology.Host, authorization ...string) (kubeconfig string, client kubernetes.Interface, stop func()) {
	c.t.Helper()
	dir := c.t.TempDir()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	c.must(err)
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		c.must(os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	signing := file("service-account.key", string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})))
	tokens := file("tokens.csv", adminToken+",admin,admin,system:masters\n")
	kubeconfig = file("kubeconfig", kubeconfigFor(adminToken))
	if len(authorization) == 0 {
		authorization = []string{"AlwaysAllow"}
	}
	start := func(program string, args ...string) *harness.Process {
		c.t.Helper()
		p, err := harness.Start(h, filepath.Join(peers, program), args...)
		c.must(err)
		c.t.Cleanup(func() {
			p.Kill()
			if output := p.Output(); c.t.Failed() {
				c.t.Logf("the end of %s's log:\n%s", program, output[max(0, len(output)-3000):])
			}
		})
		return p
	}
	start("etcd", "--data-dir", filepath.Join(dir, "etcd"), "--listen-client-urls", "http://127.0.0.1:2379", "--advertise-client-urls", "http://127.0.0.1:2379",
		"--listen-peer-urls", "http://127.0.0.1:2380", "--unsafe-no-fsync", "--log-level", "warn")
	apiServer := func(port int) *harness.Process {
		return start("kube-apiserver", "--etcd-servers", "http://127.0.0.1:2379", "--service-cluster-ip-range", "10.96.0.0/16,fd00:10:96::/112",
			"--service-account-issuer", "https://kubernetes.default.svc", "--service-account-key-file", signing, "--service-account-signing-key-file", signing,
			"--authorization-mode", strings.Join(authorization, ","), "--token-auth-file", tokens, "--cert-dir", filepath.Join(dir, fmt.Sprint("certs-", port)), "--bind-address", "0.0.0.0",
			"--secure-port", fmt.Sprint(port), "--advertise-address", "127.0.0.1", "--endpoint-reconciler-type", "none", "--disable-admission-plugins", "ServiceAccount")
	}
	server := apiServer(6443)
	c.secondAPIServer = func() *harness.Process { return apiServer(6444) }
	config := &rest.Config{
		Host: "https://127.0.0.1:6443", BearerToken: adminToken, TLSClientConfig: rest.TLSClientConfig{Insecure: true},
		Timeout: harness.Patiently(3 * time.Minute), // ends what hangs; a shared machine keeps an answer longer than one would think
		Dial: func(ctx context.Context, network, address string) (conn net.Conn, err error) {
			err = h.Do(func() error { conn, err = (&net.Dialer{}).DialContext(ctx, network, address); return err })
			return conn, err
		},
	}
	c.rest = config
	client, err = kubernetes.NewForConfig(config)
	c.must(err)
	began := time.Now()
	c.must(harness.Await(4*time.Minute, func() error {
		if server.Ended() {
			return errors.New("kube-apiserver has ended")
		}
		_, err := client.CoreV1().RESTClient().Get().AbsPath("/readyz").DoRaw(c.t.Context())
		return err
	}))
	c.t.Logf("kube-apiserver was ready after %.0f s", time.Since(began).Seconds())
	return kubeconfig, client, server.Kill
}

// kubeconfigFor is a kubeconfig for the bearer of the token.
func kubeconfigFor(token string) string {
	return `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:6443", insecure-skip-tls-verify: true}}]
users: [{name: u, user: {token: ` + token + `}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`
}

// TestKubernetesAPI feeds the proxier from a real API server.
func TestKubernetesAPI(t *testing.T) {
	c := newCluster(t)
	ctx := t.Context()
	pod := c.pod(1, 50, "client")
	one, two := c.backend(1, 10, "one"), c.backend(2, 10, "two")
	a, b := at(one.IPv4, 8080), at(two.IPv4, 8080)
	kubeconfig, client, stop := c.startAPIServer(c.Node1)
	services, slices := client.CoreV1().Services("default"), client.DiscoveryV1().EndpointSlices("default")
	dual := v1.IPFamilyPolicyRequireDualStack
	create := func(s *v1.Service, pods ...*topology.Host) *v1.Service {
		t.Helper()
		s.Spec.IPFamilyPolicy = &dual
		made, err := services.Create(ctx, s, metav1.CreateOptions{})
		c.must(err)
		for _, slice := range endpointSlices(s, pods...) {
			_, err := slices.Create(ctx, slice, metav1.CreateOptions{})
			c.must(err)
		}
		return made
	}
	// One is there before the proxier, one comes after.
	create(service("before", []string{"10.96.0.20", "fd00:10:96::20"}), two)
	c.start("--kubeconfig", kubeconfig, "--audit-period", "1s")
	c.must(c.proxier.AwaitReady())
	c.awaitVirtualServer("udp", at(netip.MustParseAddr("10.96.0.20"), 80), fmt.Sprintf("rr %s/1", b))

	made := create(web(nodePort, scheduled("lc")), one)
	c.awaitVirtualServer("tcp", web4, fmt.Sprintf("lc %s/1", a))
	c.awaitVirtualServer("tcp", web6, fmt.Sprintf("lc %s/1", at(one.IPv6, 8080)))
	// Asked by UDP, whose endpoints need not drain: what is compared below would change while they do.
	if answer := c.ask(pod, "udp", web4); answer.ID != "one" {
		t.Errorf("%s answers, want one", answer.ID)
	}
	if answer := c.ask(c.Outside, "udp", at(c.Node1.IPv6, webNodePort)); answer.ID != "one" {
		t.Errorf("%s answers on the node port, want one", answer.ID)
	}
	// An endpoint more; another scheduler; one less.
	for _, slice := range endpointSlices(web(), one, two) {
		_, err := slices.Update(ctx, slice, metav1.UpdateOptions{})
		c.must(err)
	}
	c.awaitVirtualServer("tcp", web4, fmt.Sprintf("lc %s/1 %s/1", a, b))
	made.Annotations["ipvs-proxier.io/scheduler"] = "rr"
	_, err := services.Update(ctx, made, metav1.UpdateOptions{})
	c.must(err)
	c.awaitVirtualServer("tcp", web4, fmt.Sprintf("rr %s/1 %s/1", a, b))
	for _, slice := range endpointSlices(web(), two) {
		_, err := slices.Update(ctx, slice, metav1.UpdateOptions{})
		c.must(err)
	}
	c.awaitVirtualServer("udp", web4, fmt.Sprintf("rr %s/1", b))
	// A Service goes with its slices.
	c.must(services.Delete(ctx, "before", metav1.DeleteOptions{}))
	for _, name := range []string{"before-ipv4", "before-ipv6"} {
		c.must(slices.Delete(ctx, name, metav1.DeleteOptions{}))
	}
	c.awaitVirtualServer("tcp", at(netip.MustParseAddr("10.96.0.20"), 80), "none")
	c.awaitVirtualServer("tcp", at(netip.MustParseAddr("fd00:10:96::20"), 80), "none")

	c.await(func() error {
		if s, err := c.proxier.Status(); err != nil || s.Draining > 0 {
			return fmt.Errorf("%+v, %w", s, err)
		}
		return nil
	})
	// Without an API server what is there stays, also over audits.
	before := c.dataplane()
	stop()
	audits := func() float64 {
		n, err := c.proxier.Metric("ipvs_proxier_audits_total")
		c.must(err)
		return n
	}
	until := audits() + 2
	c.await(func() error {
		if n := audits(); n < until {
			return fmt.Errorf("%v audits, want %v", n, until)
		}
		return nil
	})
	if now := c.dataplane(); now != before {
		t.Errorf("the dataplane is\n%s\nwant\n%s", now, before)
	}
	if answer := c.ask(pod, "tcp", web4); answer.ID != "two" {
		t.Errorf("%s answers, want two", answer.ID)
	}
}
