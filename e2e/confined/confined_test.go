package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestMain makes this program confined itself where a test starts it again.
func TestMain(m *testing.M) {
	if os.Getenv(asConfined) == "" {
		os.Exit(m.Run())
	}
	os.Unsetenv(asConfined)
	main()
}

const asConfined = "AS_CONFINED"

// It needs root, as a container engine does, and a kernel with seccomp.
func TestAProgramHasWhatItsContainerWouldHave(t *testing.T) {
	ask := func(script string) string {
		cmd := exec.Command(os.Args[0], "-capabilities", "CAP_NET_ADMIN,CAP_NET_RAW", "sh", "-c", script)
		cmd.Env = append(os.Environ(), asConfined+"=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", script, err, out)
		}
		return string(out)
	}
	status := ask("cat /proc/self/status")
	for _, line := range []string{
		"Seccomp:\t2\n", "NoNewPrivs:\t1\n", "CapEff:\t0000000000003000\n", "CapPrm:\t0000000000003000\n",
		"CapBnd:\t0000000000003000\n", "CapInh:\t0000000000000000\n",
	} {
		if !strings.Contains(status, line) {
			t.Errorf("want %q in\n%s", line, status)
		}
	}
	// A new user namespace takes no capability, so it is the profile that refuses it.
	if got := ask("unshare --user true 2>&1 || true"); !strings.Contains(got, "Operation not permitted") {
		t.Errorf("want no new user namespace, got %q", got)
	}
}

func TestUnknownCapabilitiesAreNamed(t *testing.T) {
	if _, err := capabilities([]string{"NET_ADMIN"}); err == nil || !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
		t.Errorf("want an error that names those allowed, got %v", err)
	}
}
