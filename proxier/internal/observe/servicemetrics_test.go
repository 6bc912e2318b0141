package observe

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/engine"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"
)

// TestServiceMetrics: counters never fall, whatever becomes of virtual servers; those of the Services with the most
// bytes are shown, and none of a Service that is gone.
func TestServiceMetrics(t *testing.T) {
	counted := map[dataplane.VirtualServerID]kernel.ServiceTraffic{}
	var failure error
	readings, now := 0, time.Unix(1e9, 0)
	m := NewServiceMetrics(1)
	m.sparing.now = func() time.Time { return now }
	m.read = func() (map[dataplane.VirtualServerID]kernel.ServiceTraffic, error) {
		readings++
		return counted, failure
	}
	id := func(last byte) dataplane.VirtualServerID {
		return dataplane.VirtualServerID{Addr: netip.AddrFrom4([4]byte{10, 96, 0, last}), Port: 80, Protocol: cluster.TCP}
	}
	row := func(name string, lost bool, ids ...dataplane.VirtualServerID) engine.Row {
		r := engine.Row{Name: cluster.Name{Namespace: "ns", Name: name}}
		for _, id := range ids {
			f := engine.FrontEndRow{Front: &dataplane.FrontEnd{ID: id}}
			if lost {
				f.LostTo = &cluster.Name{Namespace: "ns", Name: "other"}
			}
			r.FrontEnds = append(r.FrontEnds, f)
		}
		return r
	}
	traffic := func(n uint64) kernel.ServiceTraffic {
		return kernel.ServiceTraffic{
			Connections: n, PacketsIn: 2 * n, PacketsOut: 3 * n, BytesIn: 100 * n, BytesOut: 1000 * n,
		}
	}
	var names []string
	for _, name := range []string{"bytes_total", "connections_total", "metrics_omitted", "packets_total"} {
		names = append(names, "ipvs_proxier_service_"+name)
	}
	expect := func(what, want string) {
		t.Helper()
		now = now.Add(sparingRest)
		got, err := testutil.CollectAndFormat(m, expfmt.TypeTextPlain, names...)
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for line := range strings.Lines(string(got)) {
			if !strings.HasPrefix(line, "#") {
				lines = append(lines, strings.TrimPrefix(strings.TrimSpace(line), "ipvs_proxier_service_"))
			}
		}
		if text := strings.Join(lines, "\n"); text != want {
			t.Errorf("%s:\n%s\nwant\n%s", what, text, want)
		}
	}
	web := func(connections, packetsIn, packetsOut, bytesIn, bytesOut string) string {
		label := `{namespace="ns",service="web"} `
		in, out := `{direction="in",namespace="ns",service="web"} `, `{direction="out",namespace="ns",service="web"} `
		return "bytes_total" + in + bytesIn + "\nbytes_total" + out + bytesOut + "\nconnections_total" + label + connections +
			"\nmetrics_omitted 1\npackets_total" + in + packetsIn + "\npackets_total" + out + packetsOut
	}

	m.Observe(engine.Report{Changed: []engine.Row{row("web", false, id(1), id(2)), row("api", false, id(3))}})
	counted[id(1)], counted[id(2)], counted[id(3)], counted[id(9)] = traffic(5), traffic(2), traffic(6), traffic(1000)
	expect("two virtual servers, more than the other Service", web("7", "14", "21", "700", "7000"))
	counted[id(1)] = traffic(9)
	expect("four connections more", web("11", "22", "33", "1100", "11000"))
	counted[id(1)] = traffic(1)
	expect("made anew", web("12", "24", "36", "1200", "12000"))
	delete(counted, id(1))
	expect("away", web("12", "24", "36", "1200", "12000"))
	counted[id(1)] = traffic(3)
	expect("there again, with more than before", web("15", "30", "45", "1500", "15000"))
	m.Observe(engine.Report{Changed: []engine.Row{row("web", false, id(2))}})
	counted[id(2)] = traffic(4)
	expect("one front end less", web("17", "34", "51", "1700", "17000"))
	m.Observe(engine.Report{Changed: []engine.Row{row("web", true, id(2))}})
	counted[id(2)] = traffic(100)
	expect("a front end that another Service has got", web("17", "34", "51", "1700", "17000"))

	before := readings
	if testutil.CollectAndCount(m); readings != before {
		t.Errorf("%d readings without a rest", readings-before)
	}
	failure = errors.New("no")
	expect("a kernel that cannot be read", "")
	failure = nil
	m.Observe(engine.Report{Changed: []engine.Row{{Name: cluster.Name{Namespace: "ns", Name: "web"}, Gone: true},
		{Name: cluster.Name{Namespace: "ns", Name: "api"}, Gone: true}}})
	expect("no Service", "metrics_omitted 0")
}
