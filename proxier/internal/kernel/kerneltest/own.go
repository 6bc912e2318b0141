package kerneltest

import (
	"runtime"
	"testing"

	vnl "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Own gives the test's goroutine a network namespace of its own. Its thread is never used again.
func Own(t testing.TB) {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("make a network namespace: %v (these tests need root and a kernel with IPVS; make test-kernel runs them)", err)
	}
	lo, err := vnl.LinkByName("lo")
	if err == nil {
		err = vnl.LinkSetUp(lo)
	}
	if err != nil {
		t.Fatal(err)
	}
}
