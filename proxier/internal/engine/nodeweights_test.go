package engine

import (
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// TestNodeWeights: --node-weights says whether what is written on Nodes counts; where it does not, the Node has a
// Problem.
func TestNodeWeights(t *testing.T) {
	const objects = `apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: "10.96.0.10", ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: 8080}]
endpoints: [{addresses: [10.244.1.2], nodeName: n1}]
`
	for none, weight := range map[bool]string{false: "weight 7", true: "weight 1"} {
		s := newScenario(t, 0, 0)
		s.engine.settings.NoNodeWeights = none
		s.objects.nodes["n1"] = &v1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: "n1", Annotations: map[string]string{"ipvs-proxier.io/weight": "7"}},
		}
		s.objects.version++
		s.converge(s.apply([]byte(objects)), false)
		if got := s.memory.State().ServiceText(); !strings.Contains(got, "10.244.1.2:8080 "+weight) {
			t.Errorf("none %t: want %s in\n%s", none, weight, got)
		}
		if told := strings.Contains(s.problems(), "node "+cluster.AnnotationWithoutEffect.Name); told != none {
			t.Errorf("none %t: problems\n%s", none, s.problems())
		}
	}
}
