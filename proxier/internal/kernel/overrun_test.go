//go:build kernel

package kernel_test

import (
	"errors"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel/kerneltest"
)

// TestOverrunIsFound: with receive buffers that overrun, where operations fail, each is done, refused or unknown, as
// the kernel then shows; what is unknown surprises; and doing what is left to be done after another look comes to the
// end that was wanted.
func TestOverrunIsFound(t *testing.T) {
	kerneltest.Own(t)
	k := openLinux(t)
	foundation, full := dataplane.Foundation(kerneltest.Config), want(300, 3)
	apply(t, k, from(dataplane.NewState(), foundation))
	ops := from(foundation, full)
	// Somebody has done a part of it already: those operations fail.
	var before []dataplane.Op
	for i, op := range ops {
		if _, real := op.Object.(dataplane.RealServerObject); i%3 > 0 && !real {
			before = append(before, op)
		}
	}
	apply(t, k, before)
	k.TinyBuffers(t)
	done, refused, unknown := 0, 0, 0
	for i, err := range k.Apply(ops) {
		switch {
		case err == nil:
			done++
			if slices.Contains(before, ops[i]) {
				t.Errorf("%s counts as done, and was there before", ops[i])
			}
		case errors.Is(err, unix.EEXIST):
			refused++
		case errors.Is(err, unix.ENOBUFS):
			unknown++
		default:
			t.Errorf("%s: %v", ops[i], err)
		}
	}
	t.Logf("of %d operations %d are done, %d refused, %d unknown", len(ops), done, refused, unknown)
	if refused == 0 || unknown == 0 {
		t.Error("the test shows nothing")
	}
	seen, err := k.Observe()
	if err != nil {
		t.Fatal(err)
	}
	apply(t, k, from(seen.State, full))
	if seen, err = k.Observe(); err != nil {
		t.Fatal(err)
	}
	if ops := from(seen.State, full); len(ops) > 0 {
		t.Errorf("still to be done: %v", ops)
	}
}
