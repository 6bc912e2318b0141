package engine

import (
	"context"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/account"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/schedule"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/server"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/target"
)

// BenchmarkOneMillisecondMore asks two servers, one of which takes 1 ms longer, in rounds that alternate. It prints by
// how much each percentile of all rounds together is larger, beside the client's own jitter. The shift should be 1000
// us, give or take the jitter.
//
//	go test -run '^$' -bench OneMillisecondMore -benchtime 10x ./cmd/ipvs-load/internal/engine
func BenchmarkOneMillisecondMore(b *testing.B) {
	var latency [2]*account.Distribution
	var to [2]target.Target
	for i := range to {
		latency[i] = account.NewDistribution()
		to[i] = delayed(b, time.Duration(i+2)*time.Millisecond)
	}
	wake := account.NewDistribution()
	b.ResetTimer()
	for range b.N {
		for i := range to {
			r, err := Run(b.Context(), Config{
				Mode: CRR, Targets: to[i : i+1], Timeout: time.Minute, ConnectionsMax: 1000, UDPPort: Rotate, Close: FIN,
				Plan: schedule.Plan{Rate: 200, Duration: time.Second, Workers: 1},
			})
			if err != nil {
				b.Fatal(err)
			}
			latency[i].Merge(r.Tally.Latency)
			wake.Merge(r.Self.Wake)
		}
	}
	for p, unit := range map[float64]string{50: "p50-shift-us", 90: "p90-shift-us", 99: "p99-shift-us"} {
		b.ReportMetric(float64(latency[1].Percentile(p)-latency[0].Percentile(p))/1e3, unit)
	}
	b.ReportMetric(float64(wake.Percentile(99))/1e3, "jitter-us")
}

func delayed(b *testing.B, delay time.Duration) target.Target {
	b.Helper()
	l, err := target.ParseListen("tcp://127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s, err := server.New(server.Config{ID: "slow", Delay: delay, Listen: []target.Target{l}})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- s.Serve(ctx) }()
	b.Cleanup(func() { cancel(); <-ended })
	t, err := target.Parse(s.Addresses()[0])
	if err != nil {
		b.Fatal(err)
	}
	return t
}
