package observe

import (
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/engine"
)

// TestTimesOfChanges: each change is a sample of its stages, also when several went with one pass; a pass without one
// is none.
func TestTimesOfChanges(t *testing.T) {
	m := NewMetrics(nil, "v1")
	m.Observe(engine.Report{Compile: time.Second, Kernel: time.Second})
	m.Observe(engine.Report{Compile: time.Second, Kernel: time.Second, Changes: []engine.ChangeTimes{
		{Queue: 1, Total: 2, Watch: []time.Duration{1, 2}, Programmed: []time.Duration{3, 4}}, {Queue: -1, Total: 2},
	}})
	for series, want := range map[string]uint64{"queue": 2, "total": 2, "watch": 2, "compile": 1, "kernel": 1, "": 2} {
		if got := samples(t, m, series); got != want {
			t.Errorf("stage %q has %d samples, want %d", series, got, want)
		}
	}
}

// samples returns how many changes the stage has; "" is kube-proxy's metric.
func samples(t *testing.T, m *Metrics, stage string) uint64 {
	t.Helper()
	all, err := m.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range all {
		for _, one := range family.GetMetric() {
			if stage == "" && family.GetName() == "kubeproxy_network_programming_duration_seconds" ||
				family.GetName() == "ipvs_proxier_change_duration_seconds" && one.GetLabel()[0].GetValue() == stage {
				return one.GetHistogram().GetSampleCount()
			}
		}
	}
	t.Fatalf("there is no stage %q", stage)
	return 0
}
