package kernel

import (
	"fmt"
	"os"
	"strings"
)

// sysctlPath returns the file of a parameter. /proc/sys/net shows the namespace of the process that opens it.
func sysctlPath(name string) string { return "/proc/sys/" + strings.ReplaceAll(name, ".", "/") }

func readSysctl(name string) (string, error) {
	data, err := os.ReadFile(sysctlPath(name))
	return strings.TrimSpace(string(data)), err
}

func writeSysctl(name, value string) error {
	if err := os.WriteFile(sysctlPath(name), []byte(value), 0o644); err != nil {
		return fmt.Errorf("write %s: %w (is /proc/sys mounted read-only? in force is what the kernel has)", value, err)
	}
	return nil
}
