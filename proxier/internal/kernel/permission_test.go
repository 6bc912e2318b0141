package kernel

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestDenied: EPERM in a user namespace names it, since CAP_NET_ADMIN is there; outside of one it names the capability.
func TestDenied(t *testing.T) {
	for name, c := range map[string]struct {
		in        namespaceOfUsers
		want, not string
	}{
		"initial":         {namespaceOfUsers{initialUserNamespace, "         0          0 4294967295"}, "needs CAP_NET_ADMIN", "user namespace"},
		"rootless":        {namespaceOfUsers{"user:[4026532281]", "         0       1000          1\n         1     100000      65536"}, "user namespace (/proc/self/uid_map: 0 1000 1 1 100000 65536)", "CAP_NET_ADMIN"},
		"all users":       {namespaceOfUsers{"user:[4026532281]", "         0          0 4294967295"}, "user namespace (/proc/self/uid_map: 0 0 4294967295)", "CAP_NET_ADMIN"},
		"no /proc to ask": {namespaceOfUsers{}, "needs CAP_NET_ADMIN", "user namespace"},
	} {
		err := denied(unix.EPERM, c.in)
		if !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), c.not) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if here := userNamespace(); here.link == "" || here.uidMap == "" {
		t.Errorf("of this process is known %+v", here)
	}
}
