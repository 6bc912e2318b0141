//go:build kernel

package kernel_test

import (
	"os/exec"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel/kerneltest"
)

// TestPolicyOfInput: where the operator's policy of INPUT is to drop, the hook that opens front ends takes every
// packet; elsewhere it takes new connections only. Each family has a policy of its own, and the kernel is brought in
// line by what is seen of it.
func TestPolicyOfInput(t *testing.T) {
	kerneltest.Own(t)
	k := openLinux(t)
	want := dataplane.NewWant(dataplane.Foundation(kerneltest.Config)).State
	last := func() (matches map[cluster.Family]string) {
		seen, err := k.Observe()
		if err != nil {
			t.Fatal(err)
		}
		ops := dataplane.Diff(seen.State, want, dataplane.All(nil, seen.State, want))
		for i, err := range k.Apply(ops) {
			if err != nil {
				t.Fatalf("%s: %v", ops[i], err)
			}
		}
		if seen, err = k.Observe(); err != nil {
			t.Fatal(err)
		}
		if again := dataplane.Diff(seen.State, want, dataplane.All(nil, seen.State, want)); len(again) > 0 {
			t.Fatalf("a second look finds %v", again)
		}
		matches = map[cluster.Family]string{}
		for hook := range seen.State.Hooks {
			if hook.Last() {
				matches[hook.Chain.Family] += hook.Match.String() + "."
			}
		}
		return matches
	}
	const opening = "not related or established, unconfirmed."
	for _, step := range []struct {
		command []string
		want    map[cluster.Family]string
	}{
		{[]string{"true"}, map[cluster.Family]string{cluster.IPv4: opening, cluster.IPv6: opening}},
		{[]string{"iptables", "-P", "INPUT", "DROP"}, map[cluster.Family]string{cluster.IPv4: ".", cluster.IPv6: opening}},
		{[]string{"ip6tables", "-P", "INPUT", "DROP"}, map[cluster.Family]string{cluster.IPv4: ".", cluster.IPv6: "."}},
		{[]string{"iptables", "-P", "INPUT", "ACCEPT"}, map[cluster.Family]string{cluster.IPv4: opening, cluster.IPv6: "."}},
	} {
		if out, err := exec.Command(step.command[0], step.command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", step.command, err, out)
		}
		if diff := cmp.Diff(step.want, last()); diff != "" {
			t.Errorf("after %v (-want +got):\n%s", step.command, diff)
		}
	}
}
