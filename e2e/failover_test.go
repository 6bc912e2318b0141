//go:build e2e

package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "k8s.io/api/core/v1"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
)

// TestAPIServersFailOver: one of two API servers goes, and changes still arrive by the other. Both go, and the
// dataplane stays, and status says so. One comes back: what changed meanwhile is carried out, and nothing else is
// written.
func TestAPIServersFailOver(t *testing.T) {
	c := newCluster(t)
	ctx := t.Context()
	kubeconfig, client, stopFirst := c.startAPIServer(c.Node1)
	second := c.secondAPIServer()
	dual := v1.IPFamilyPolicyRequireDualStack
	create := func(name string, number int) {
		t.Helper()
		s := service(name, []string{fmt.Sprintf("10.96.5.%d", number), fmt.Sprintf("fd00:10:96::5%02x", number)},
			func(s *v1.Service) { s.Spec.IPFamilyPolicy = &dual })
		_, err := client.CoreV1().Services("default").Create(ctx, s, metav1.CreateOptions{})
		c.must(err)
	}
	served := func(number int) {
		t.Helper()
		c.must(harness.Await(90*time.Second, func() error {
			v, err := c.kernel.VirtualServer("tcp", netip.MustParseAddrPort(fmt.Sprintf("10.96.5.%d:80", number)))
			if err == nil && v == nil {
				err = errStill("not there")
			}
			return err
		}))
	}
	create("first", 1)
	// The second one is tried first: while it is not ready it answers 503, or nothing.
	c.start("--kubeconfig", kubeconfig, "--api-servers", "https://127.0.0.1:6444,https://127.0.0.1:6443")
	c.must(c.proxier.AwaitReady())
	served(1)
	c.must(harness.Await(2*time.Minute, func() error {
		status, _, err := c.proxier.Get("https://127.0.0.1:6444/readyz")
		if err == nil && status != 200 && status != 401 && status != 403 {
			err = errStill(fmt.Sprint(status))
		}
		if err != nil && strings.Contains(err.Error(), "certificate") {
			return nil // it listens
		}
		return err
	}))
	create("second", 2)
	served(2)
	// The one that the test itself talks to stays for now.
	second.Kill()
	create("third", 3)
	served(3)

	before := c.dataplane()
	stopFirst()
	c.await(func() error {
		text, failed := c.proxier.StatusText()
		if failed == nil || !strings.Contains(text, "no API server answers") {
			return errStill("status does not say that no API server answers, or ends with 0")
		}
		return nil
	})
	if now := c.dataplane(); now != before {
		t.Errorf("without an API server the dataplane is\n%s\nwant\n%s", now, before)
	}
	// Row 116: nor does a start change anything while no API server has listed the Services.
	c.proxier.Kill()
	c.start(c.args...)
	c.awaitOutput("no API server answers")
	if now := c.dataplane(); now != before {
		t.Errorf("a start without an API server makes of the dataplane\n%s\nwant\n%s", now, before)
	}
	c.secondAPIServer()
	// It takes a while to start, and a reflector that was refused tries again after half a minute at most.
	c.must(harness.Await(4*time.Minute, c.proxier.AwaitReady))
	if now := c.writes(); now != 0 {
		t.Errorf("%v operations when the API came back and nothing had changed", now)
	}
}
