package harness

import (
	"fmt"
	"os/exec"
	"strings"
)

// LoadSCTP loads the protocol, which the kernel does not load for those in other network namespaces.
func LoadSCTP() error {
	if out, err := exec.Command("modprobe", "sctp").CombinedOutput(); err != nil {
		return fmt.Errorf("modprobe sctp: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
