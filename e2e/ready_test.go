//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
)

// TestReadyIsTheAgeOfTheView: an API server that is stopped keeps its connections open and says nothing. The node goes
// on serving and is healthy, but it is not ready, and says why, until the server goes on. A token that it does not
// accept is named as such.
func TestReadyIsTheAgeOfTheView(t *testing.T) {
	c := newCluster(t)
	client := c.pod(1, 50, "client")
	one := c.backend(1, 10, "one")
	p := c.newControlPlane(c.Node1)
	p.startEtcd()
	p.server = p.startServer(6443)
	p.awaitServer()
	c.readyNode(p.client, "node1")
	s := web()
	dual := v1.IPFamilyPolicyRequireDualStack
	s.Spec.IPFamilyPolicy = &dual
	_, err := p.client.CoreV1().Services("default").Create(t.Context(), s, metav1.CreateOptions{})
	c.must(err)
	for _, slice := range endpointSlices(s, one) {
		_, err := p.client.DiscoveryV1().EndpointSlices("default").Create(t.Context(), slice, metav1.CreateOptions{})
		c.must(err)
	}

	token := filepath.Join(t.TempDir(), "token")
	c.must(os.WriteFile(token, []byte("wrong"), 0o600))
	config := p.file("kubeconfig", kubeconfig("https://127.0.0.1:6443", "insecure-skip-tls-verify: true",
		"tokenFile: "+token))
	c.start("--kubeconfig", config, "--max-view-age", "1m")
	c.awaitOutput("refuses to list or watch services: Unauthorized")
	c.awaitReadiness(false, "have not been listed")
	if text, err := c.proxier.StatusText(); err == nil || !strings.Contains(text, "Unauthorized") {
		t.Errorf("status ends with %v and says\n%s", err, text)
	}
	c.proxier.Kill()
	c.must(os.WriteFile(token, []byte(adminToken), 0o600))
	c.again()
	c.awaitReadiness(true, "")
	if id := c.ask(client, "tcp", web4).ID; id != "one" {
		t.Errorf("%s answers", id)
	}

	// Without an event for a minute or two, bookmarks alone keep it young.
	c.must(syscall.Kill(p.server.PID(), syscall.SIGSTOP))
	stopped := time.Now()
	c.must(harness.Await(3*time.Minute, func() error { return c.readiness(false, "--max-view-age") }))
	t.Logf("not ready %s after the API server stopped", time.Since(stopped).Round(time.Second))
	if status, text, err := c.proxier.Get("http://127.0.0.1:10256/healthz"); err != nil || status != 200 {
		t.Errorf("/healthz is %d %s, %v", status, text, err)
	}
	if id := c.ask(client, "tcp", web4).ID; id != "one" {
		t.Errorf("%s answers", id)
	}
	if age, err := c.proxier.Metric("ipvs_proxier_api_view_age_seconds"); err != nil || age < 60 {
		t.Errorf("the metric says %v, %v", age, err)
	}
	if text, err := c.proxier.StatusText(); err == nil ||
		!strings.Contains(text, "what is known of the API (https://127.0.0.1:6443) is 1m") ||
		!strings.Contains(text, "NOT READY") && !strings.Contains(text, "NO API") {
		t.Errorf("status ends with %v and says\n%s", err, text)
	}
	c.must(syscall.Kill(p.server.PID(), syscall.SIGCONT))
	c.must(harness.Await(3*time.Minute, func() error { return c.readiness(true, "") }))
}

// readiness says what is wrong where /readyz does not say so.
func (c *cluster) readiness(ready bool, reason string) error {
	status, text, err := c.proxier.Get("http://127.0.0.1:10256/readyz")
	if want := map[bool]int{true: 200, false: 503}[ready]; status != want || !strings.Contains(text, reason) {
		err = errors.Join(err, fmt.Errorf("/readyz is %d %s, want %d with %q", status, text, want, reason))
	}
	return err
}

func (c *cluster) awaitReadiness(ready bool, reason string) {
	c.t.Helper()
	c.await(func() error { return c.readiness(ready, reason) })
}
