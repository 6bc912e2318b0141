package engine

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/annotation"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/annotation/annotationtest"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// goodValues are in force before the mistakes; each differs from its default, as far as the key has another value.
var goodValues = map[string]string{
	"scheduler": "wlc", "scheduler-flags": "none", "weight": "*=7", "slow-start": "10s", "max-connections": "100/80",
	"drain-timeout": "5m",
	"forwarding":    "nat", "one-packet": "false", "expose": "cluster-ip", "ignore": "false",
}

const mistaken = `apiVersion: v1
kind: Service
metadata: {name: web, namespace: ns, uid: u1, resourceVersion: "1"}
spec: {type: NodePort, clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1], ports: [{name: http, port: 80, targetPort: 8080, nodePort: 30080}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-a, namespace: ns, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints:
- {addresses: [10.244.1.1], nodeName: n2}
- {addresses: [10.244.1.2], nodeName: n2}
`

// wrongValues are generated ones of each key of Services that the parser does not take.
func wrongValues(seed uint64) map[string][]string {
	wrong := map[string][]string{}
	for _, c := range annotationtest.Corpus(seed, 3000) {
		if c.Object == annotation.Service && !c.Good() {
			wrong[c.Key.Name] = append(wrong[c.Key.Name], c.Value)
		}
	}
	return wrong
}

// ProblemWatch is what shows Problems to users. This package does not know it: a test of package engine_test hands one
// in for the Service ns/web.
type ProblemWatch interface {
	Observer
	// Wrong checks that it shows a Problem for each of these annotations, and no other value of the Service.
	Wrong(annotations map[string]string)
	// Mended checks that the observer shows that all Problems are resolved.
	Mended()
}

// CheckWrongValues checks that wrong values of every key of Services, alone and combined, change nothing in the
// kernel, and what watch has to show of them.
func CheckWrongValues(t *testing.T, watch func(*testing.T) ProblemWatch) {
	seed := anySeed(t)
	random, wrong := rand.New(rand.NewPCG(seed, 1)), wrongValues(seed)
	var names []string
	for _, k := range annotation.Keys(annotation.Service) {
		names = append(names, k.Name)
		if goodValues[k.Name] == "" || len(wrong[k.Name]) == 0 {
			t.Fatalf("no good value of %s, or no wrong one", k.Name)
		}
	}
	sets := [][]string{names}
	for _, name := range names {
		sets = append(sets, []string{name}, []string{name})
	}
	for range 40 {
		set := slices.Clone(names)
		random.Shuffle(len(set), func(i, j int) { set[i], set[j] = set[j], set[i] })
		sets = append(sets, set[:2+random.IntN(len(set)-2)])
	}
	for i, set := range sets {
		values := map[string]string{}
		for _, name := range set {
			values[name] = wrong[name][random.IntN(len(wrong[name]))]
		}
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			testWrongValues(t, values, watch(t))
			if t.Failed() {
				t.Logf("TEST_SEED=%d; wrong: %q", seed, values)
			}
		})
	}
}

func testWrongValues(t *testing.T, wrong map[string]string, watch ProblemWatch) {
	s := newScenario(t, 0, 0)
	version := 0
	annotate := func(dirty []cluster.Name, wrong map[string]string) Row {
		version++
		service := s.objects.services[cluster.Name{Namespace: "ns", Name: "web"}].DeepCopy()
		service.ResourceVersion, service.Annotations = fmt.Sprint(version), map[string]string{}
		for name, value := range goodValues {
			service.Annotations[annotation.Prefix+name] = value
		}
		for name, value := range wrong {
			service.Annotations[annotation.Prefix+name] = value
		}
		s.objects.services[nameOf(service)] = service
		s.converge(dirty, false)
		row := s.rows[nameOf(service)]
		watch.Observe(Report{Start: time.Now(), Changed: []Row{row}})
		return row
	}
	web := s.apply([]byte(mistaken))
	if row := annotate(web, nil); len(row.Problems) > 0 {
		t.Fatalf("the good values have Problems: %v", row.Problems)
	}
	inForce, settings := s.memory.State().ServiceText(), s.settings(web[0])

	row := annotate(web, wrong)
	if diff := cmp.Diff(inForce, s.memory.State().ServiceText()); diff != "" {
		t.Errorf("the kernel has changed:\n%s", diff)
	}
	if diff := cmp.Diff(settings, s.settings(web[0])); diff != "" {
		t.Errorf("in force is something else:\n%s", diff)
	}
	for name, value := range wrong {
		field := annotation.Field(annotation.Prefix + name)
		if !slices.ContainsFunc(row.Problems, func(p cluster.Problem) bool {
			return p.Reason == cluster.InvalidAnnotation && p.Field == field && strings.Contains(p.Text(), "in force is")
		}) {
			t.Errorf("no Problem of %s %q: %v", name, value, row.Problems)
		}
	}
	watch.Wrong(wrong)
	annotate(web, nil)
	watch.Mended()
}

// settings returns the values in force, without where they come from.
func (s *scenario) settings(name cluster.Name) (values []string) {
	service := s.engine.services[name]
	for _, setting := range service.settings {
		values = append(values, setting.Key+"="+setting.Value)
	}
	for _, port := range service.ports {
		for _, setting := range port.Settings {
			values = append(values, setting.Key+"="+setting.Value)
		}
	}
	return values
}
