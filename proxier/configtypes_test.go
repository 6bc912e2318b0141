package proxier

import (
	"strings"
	"testing"
)

// TestWrongTypesAreNamed: the error for a value of another type than its field's names the field and the type that it
// takes, in the words of the file and not of the program.
func TestWrongTypesAreNamed(t *testing.T) {
	const head = "apiVersion: ipvs-proxier.io/v1alpha1\nkind: Configuration\n"
	for text, want := range map[string]string{
		head + "drainTimeout: 5":             "drainTimeout: it is of the type number; allowed is a time with its unit, such as 30s or 15m",
		head + "conntrack: {udpTimeout: 30}": "conntrack.udpTimeout: it is of the type number; allowed is a time with its unit",
		head + "conntrack: {min: many}":      "conntrack.min: it is of the type string; allowed is a whole number",
		head + "clusterCIDRs: 10.0.0.0/8":    "clusterCIDRs: it is of the type string; allowed is a list",
		head + "masqueradeAll: 1":            "masqueradeAll: it is of the type number; allowed is true or false",
		head + "masqueradePorts: 5":          "masqueradePorts: it is of the type number; allowed is a range of ports",
		head + "iptables: {}":                "iptables: it is of the type object; allowed is text",
		"apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmode: ipvs\niptables: {}": "ipvs-proxier convert",
		"apiVersion: v1\nkind: ConfigMap\ndata: {config.conf: x}":                                              "ipvs-proxier convert",
	} {
		if _, err := parseConfig([]byte(text), Default()); err == nil || !strings.Contains(err.Error(), want) ||
			strings.Contains(err.Error(), "Go struct") {
			t.Errorf("%s\n%v, want %q", text, err, want)
		}
	}
}
