package engine

import (
	"fmt"
	"testing"

	v1 "k8s.io/api/core/v1"
)

// TestPrimaryAddresses: the first InternalIP of each family, else the first ExternalIP. The API server (1.37) takes
// other types, and text that is no address: both are passed over.
func TestPrimaryAddresses(t *testing.T) {
	const in, ex = v1.NodeInternalIP, v1.NodeExternalIP
	for name, c := range map[string]struct {
		addresses []v1.NodeAddress
		want      string
	}{
		"none":                       {nil, "[]"},
		"first of each family":       {[]v1.NodeAddress{{Type: in, Address: "192.0.2.1"}, {Type: in, Address: "192.0.2.2"}, {Type: in, Address: "2001:db8::1"}}, "[192.0.2.1 2001:db8::1]"},
		"external of one family":     {[]v1.NodeAddress{{Type: ex, Address: "2001:db8::1"}, {Type: ex, Address: "198.51.100.1"}, {Type: in, Address: "192.0.2.1"}}, "[192.0.2.1 2001:db8::1]"},
		"types that are unknown":     {[]v1.NodeAddress{{Type: "Odd", Address: "192.0.2.9"}, {Address: "192.0.2.8"}, {Type: "internalip", Address: "192.0.2.7"}, {Type: in, Address: "192.0.2.1"}}, "[192.0.2.1]"},
		"text that is no address":    {[]v1.NodeAddress{{Type: in, Address: "n1"}, {Type: in, Address: ""}, {Type: in, Address: "192.0.2.300"}, {Type: in, Address: "192.0.2.1/24"}, {Type: in, Address: "192.0.2.1"}}, "[192.0.2.1]"},
		"nothing but such text":      {[]v1.NodeAddress{{Type: in, Address: "n1"}, {Type: v1.NodeHostName, Address: "192.0.2.1"}}, "[]"},
		"IPv4 in IPv6 is IPv4":       {[]v1.NodeAddress{{Type: in, Address: "::ffff:192.0.2.1"}, {Type: in, Address: "2001:db8::1"}}, "[192.0.2.1 2001:db8::1]"},
		"InternalIP behind external": {[]v1.NodeAddress{{Type: ex, Address: "198.51.100.1"}, {Type: in, Address: "192.0.2.1"}}, "[192.0.2.1]"},
	} {
		if got := fmt.Sprint(PrimaryAddresses(&v1.Node{Status: v1.NodeStatus{Addresses: c.addresses}})); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
