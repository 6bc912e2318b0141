//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	admission "k8s.io/api/admissionregistration/v1"
	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
)

// judged is an annotation with what the parser says of it.
type judged struct {
	Object, Key, Value string
	Good               bool
}

// warnings keeps what the API server says with an answer.
type warnings struct{ texts []string }

// HandleWarningHeader implements rest.WarningHandler.
func (w *warnings) HandleWarningHeader(_ int, _, text string) { w.texts = append(w.texts, text) }

// asker asks the API server what it thinks of annotations, without making anything.
type asker struct {
	client kubernetes.Interface
	said   *warnings
}

func (c *cluster) newAsker() asker {
	c.t.Helper()
	config := rest.CopyConfig(c.rest)
	config.QPS, config.Burst = -1, -1
	said := &warnings{}
	config.WarningHandler = said
	client, err := kubernetes.NewForConfig(config)
	c.must(err)
	return asker{client, said}
}

// ask returns the warnings for an object with these annotations.
func (a asker) ask(ctx context.Context, object string, annotations map[string]string) ([]string, error) {
	a.said.texts = nil
	meta, dry := metav1.ObjectMeta{
		Name: "judged", Annotations: annotations,
	}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
	var err error
	switch object {
	case "Service":
		s := service("judged", []string{"10.96.0.99"})
		s.ObjectMeta = meta
		_, err = a.client.CoreV1().Services("default").Create(ctx, s, dry)
	case "EndpointSlice":
		_, err = a.client.DiscoveryV1().EndpointSlices("default").Create(ctx,
			&discovery.EndpointSlice{ObjectMeta: meta, AddressType: discovery.AddressTypeIPv4}, dry)
	case "Node":
		_, err = a.client.CoreV1().Nodes().Create(ctx, &v1.Node{ObjectMeta: meta}, dry)
	default:
		err = fmt.Errorf("%q is no kind that has annotations of ours", object)
	}
	return a.said.texts, err
}

// TestPolicy: the API server takes deploy/annotations-policy.yaml, and warns of exactly those annotations that the
// parser refuses.
func TestPolicy(t *testing.T) {
	c := newCluster(t)
	_, client, _ := c.startAPIServer(c.Node1)
	ctx := t.Context()
	c.deployed(client, "deploy/annotations-policy.yaml", func(string, []byte) {})
	a := c.newAsker()
	for _, object := range []string{"Service", "EndpointSlice", "Node"} { // policies come into force one by one
		c.must(harness.Await(time.Minute, func() error {
			texts, err := a.ask(ctx, object, map[string]string{"ipvs-proxier.io/schedular": "x"})
			if err == nil &&
				!slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(text, "unknown key") }) {
				err = fmt.Errorf("no warning of an unknown key on a %s: %q", object, texts)
			}
			return err
		}))
	}
	texts, err := a.ask(
		ctx, "Service", map[string]string{"ipvs-proxier.io/scheduler": "mhh", "example.com/scheduler": "mhh"},
	)
	c.must(err)
	t.Logf("what a user sees: %q", texts)

	data, err := os.ReadFile("proxier/internal/annotation/testdata/corpus.json")
	c.must(err)
	var cases []judged
	for line := range strings.Lines(string(data)) {
		var j judged
		c.must(json.Unmarshal([]byte(line), &j))
		cases = append(cases, j)
	}
	next, bad := atomic.Int64{}, atomic.Int64{}
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			a := c.newAsker()
			for {
				i := int(next.Add(1)) - 1
				if i >= len(cases) {
					return
				}
				j := cases[i]
				texts, err := a.ask(ctx, j.Object, map[string]string{j.Key: j.Value})
				if err != nil || len(texts) == 0 != j.Good {
					t.Errorf("%s %s: %q: the parser takes it: %t; the API server: %q, %v",
						j.Object, j.Key, j.Value, j.Good, texts, err)
				}
				if !j.Good {
					bad.Add(1)
				}
			}
		})
	}
	wait.Wait()
	t.Logf("%d annotations, of which the parser refuses %d: the API server warned of these and no others", len(cases), bad.Load())
	policies, err := client.AdmissionregistrationV1().ValidatingAdmissionPolicies().List(ctx, metav1.ListOptions{})
	c.must(err)
	for _, p := range policies.Items {
		if p.Status.TypeChecking != nil && len(p.Status.TypeChecking.ExpressionWarnings) > 0 {
			t.Errorf("%s: %+v", p.Name, p.Status.TypeChecking.ExpressionWarnings)
		}
	}

	// The longest values that users may write are within what the API server lets an expression cost.
	long := "*=1"
	for i := range 100 {
		long += fmt.Sprintf(",zone=zone-%d:%d", i, i)
	}
	for value, want := range map[string]bool{long: false, long + ",zone=zone-7:1": true} {
		texts, err := a.ask(ctx, "Service", map[string]string{"ipvs-proxier.io/weight": value})
		if err != nil || len(texts) > 0 != want {
			t.Errorf("a list of %d bytes: %q, %v; want a warning: %t", len(value), texts, err, want)
		}
	}

	// With Deny instead of Warn such objects are refused.
	bindings := client.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings()
	binding, err := bindings.Get(ctx, "ipvs-proxier-service-annotations", metav1.GetOptions{})
	c.must(err)
	binding.Spec.ValidationActions = []admission.ValidationAction{admission.Deny}
	_, err = bindings.Update(ctx, binding, metav1.UpdateOptions{})
	c.must(err)
	c.must(harness.Await(time.Minute, func() error {
		if _, err := a.ask(ctx, "Service", map[string]string{"ipvs-proxier.io/scheduler": "mhh"}); err == nil {
			return fmt.Errorf("a wrong value is let in")
		}
		return nil
	}))
	if _, err := a.ask(ctx, "Service", map[string]string{"ipvs-proxier.io/scheduler": "mh"}); err != nil {
		t.Error(err)
	}
}
