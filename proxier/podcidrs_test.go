package proxier

import (
	"testing"

	v1 "k8s.io/api/core/v1"
)

// TestPodCIDRs: the Node's networks are needed whole, and only other ones are a reason to start anew.
func TestPodCIDRs(t *testing.T) {
	node := func(cidrs ...string) *v1.Node { return &v1.Node{Spec: v1.NodeSpec{PodCIDRs: cidrs}} }
	inForce, err := podCIDRs(node("10.244.1.0/24", "fd00:10:244:1::/64"))
	if err != nil || len(inForce) != 2 {
		t.Fatalf("%v, %v", inForce, err)
	}
	for name, c := range map[string]struct {
		node            *v1.Node
		usable, changed bool
	}{
		"the same":  {node("10.244.1.0/24", "fd00:10:244:1::/64"), true, false},
		"no Node":   {nil, false, false},
		"none":      {node(), false, false},
		"a mistake": {node("10.244.1.0"), false, false},
		"others":    {node("10.244.2.0/24", "fd00:10:244:1::/64"), true, true},
		"fewer":     {node("10.244.1.0/24"), true, true},
	} {
		if _, err := podCIDRs(c.node); (err == nil) != c.usable {
			t.Errorf("%s: %v", name, err)
		}
		if err := podCIDRsChanged(c.node, inForce); (err != nil) != c.changed {
			t.Errorf("%s: %v", name, err)
		}
	}
}
