package observe

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/engine"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"
)

// talked is a kernel with this traffic.
type talked struct{ so kernel.Traffic }

func (k *talked) Traffic() kernel.Traffic { return k.so }

// TestTrafficIsCounted: each count is a counter, and the gauge that was there before it says the same.
func TestTrafficIsCounted(t *testing.T) {
	k := &talked{kernel.Traffic{Messages: 5, Sends: 2, Processes: 1}}
	m := NewMetrics(k, "v1")
	m.Observe(engine.Report{})
	m.Observe(engine.Report{})
	k.so = kernel.Traffic{Messages: 12, Sends: 2, Processes: 3}
	m.Observe(engine.Report{})
	want := `# TYPE ipvs_proxier_netlink_messages gauge
ipvs_proxier_netlink_messages 12
# TYPE ipvs_proxier_netlink_messages_total counter
ipvs_proxier_netlink_messages_total 12
# TYPE ipvs_proxier_netlink_sends gauge
ipvs_proxier_netlink_sends 2
# TYPE ipvs_proxier_netlink_sends_total counter
ipvs_proxier_netlink_sends_total 2
# TYPE ipvs_proxier_processes_started gauge
ipvs_proxier_processes_started 3
# TYPE ipvs_proxier_processes_started_total counter
ipvs_proxier_processes_started_total 3
`
	names := []string{"ipvs_proxier_netlink_messages", "ipvs_proxier_netlink_sends", "ipvs_proxier_processes_started"}
	for _, name := range names {
		names = append(names, name+"_total")
	}
	help := map[string]string{}
	all, err := m.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range all {
		help[family.GetName()] = family.GetHelp()
	}
	var text strings.Builder
	for line := range strings.Lines(want) {
		if rest, is := strings.CutPrefix(line, "# TYPE "); is {
			name, _, _ := strings.Cut(rest, " ")
			text.WriteString("# HELP " + name + " " + help[name] + "\n")
		}
		text.WriteString(line)
	}
	if err := testutil.GatherAndCompare(m.Registry, strings.NewReader(text.String()), names...); err != nil {
		t.Error(err)
	}
}
