package proxier

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// TestIdleUDP: nothing is said where the timeouts agree, and the shorter one counts where they do not.
func TestIdleUDP(t *testing.T) {
	for _, c := range []struct {
		name                            string
		wanted                          time.Duration
		ipvs, conntrack, streamed, want string
	}{
		{"all agree", 0, "60", "60", "60", ""},
		{"agree with what will be set", time.Minute, "300", "60", "60", ""},
		{"the kernel's", 0, "300", "30", "120", "keeps its endpoint for 5m0s (IPVS, --ipvs-udp-timeout); an answer to a masqueraded client finds back for 30s while there was none yet, 2m0s after"},
		{"IPVS is the shorter one", 10 * time.Second, "300", "30", "120", "keeps its endpoint for 10s (IPVS, --ipvs-udp-timeout); an answer to a masqueraded client finds back for 10s while there was none yet, 10s after"},
	} {
		t.Run(c.name, func(t *testing.T) {
			values := map[string]string{
				"ipvs.timeout.udp": c.ipvs, "net.netfilter.nf_conntrack_udp_timeout": c.conntrack,
				"net.netfilter.nf_conntrack_udp_timeout_stream": c.streamed,
			}
			got, err := idleUDP(dataplane.Config{UDPTimeout: c.wanted},
				func(name string) (string, error) { return values[name], nil })
			if err != nil || c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("%q, %v; want %q", got, err, c.want)
			}
		})
	}
	broken := errors.New("broken")
	if _, err := idleUDP(dataplane.Config{}, func(string) (string, error) { return "", broken }); !errors.Is(err, broken) {
		t.Errorf("%v, want the error of reading", err)
	}
	if _, err := idleUDP(dataplane.Config{}, func(string) (string, error) { return "x", nil }); err == nil {
		t.Error("no error for a value that is no number")
	}
}
