package proxier

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"
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
				"ipvs.timeout.udp": c.ipvs, "net.netfilter.nf_conntrack_udp_timeout": c.conntrack, "net.netfilter.nf_conntrack_udp_timeout_stream": c.streamed,
			}
			got, err := idleUDP(dataplane.Config{UDPTimeout: c.wanted}, func(name string) (string, error) { return values[name], nil })
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

// TestSysctlsAreToldOnce: the pass that changes a parameter says so with its old value, and the next one says nothing.
func TestSysctlsAreToldOnce(t *testing.T) {
	memory := kernel.NewMemory()
	memory.State().Sysctls["net.ipv4.ip_forward"] = "0"
	memory.State().Sysctls["net.ipv4.vs.conntrack"] = "1"
	e := newEngine(settings{Dataplane: dataplane.Config{Link: "kube-ipvs0", Families: []cluster.Family{cluster.IPv4}}}, memory, &objects{})
	var out bytes.Buffer
	observer := newLogObserver(slog.New(slog.NewTextHandler(&out, nil)))
	told := func() (lines []string) {
		observer.Observe(e.pass(time.Unix(0, 0), nil, true))
		for line := range strings.Lines(out.String()) {
			if _, of, found := strings.Cut(line, `msg="sysctl is changed" `); found {
				lines = append(lines, strings.TrimSpace(of))
			}
		}
		out.Reset()
		return lines
	}
	want := []string{
		`name=net.ipv4.ip_forward old=0 new=1`, `name=net.ipv4.vs.expire_nodest_conn old="" new=1`, `name=net.ipv4.vs.expire_quiescent_template old="" new=1`,
	}
	if diff := cmp.Diff(want, told()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if again := told(); len(again) > 0 {
		t.Errorf("told again: %q", again)
	}
	memory.State().Sysctls["net.ipv4.vs.conntrack"] = "0"
	if diff := cmp.Diff([]string{`name=net.ipv4.vs.conntrack old=0 new=1`}, told()); diff != "" {
		t.Errorf("after somebody else's change (-want +got):\n%s", diff)
	}
}
