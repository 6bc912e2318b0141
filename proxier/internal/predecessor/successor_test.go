package predecessor

import (
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// TestUnready: kube-proxy serves when its sets are there and, in each requested family, rules that masquerade and are
// reached.
func TestUnready(t *testing.T) {
	text, err := testdata.ReadFile("testdata/kube-proxy-ipvs.txtar")
	if err != nil {
		t.Fatal(err)
	}
	archive := txtar.Parse(text)
	whole := string(archive.Files[1].Data) // what iptables-save printed
	without := func(text string) string {
		var kept []string
		for _, line := range strings.Split(whole, "\n") {
			if !strings.Contains(line, text) {
				kept = append(kept, line)
			}
		}
		return strings.Join(kept, "\n")
	}
	sets := []ipset.Set{{Name: "KUBE-CLUSTER-IP"}}
	for name, c := range map[string]struct {
		four, six string
		sets      []ipset.Set
		families  []cluster.Family
		want      string
	}{
		"all is there":              {whole, whole, sets, []cluster.Family{cluster.IPv4, cluster.IPv6}, ""},
		"no set":                    {whole, whole, nil, []cluster.Family{cluster.IPv4}, "KUBE-CLUSTER-IP"},
		"no rule of IPv6":           {whole, "", sets, []cluster.Family{cluster.IPv4, cluster.IPv6}, "ipv6"},
		"no rule of IPv6, none had": {whole, "", sets, []cluster.Family{cluster.IPv4}, ""},
		"chains, and no rule yet":   {without("-A "), whole, sets, []cluster.Family{cluster.IPv4}, "ipv4"},
		"nothing leads there":       {without("-j KUBE-POSTROUTING"), whole, sets, []cluster.Family{cluster.IPv4}, "ipv4"},
		"nothing masquerades":       {without("MASQUERADE"), whole, sets, []cluster.Family{cluster.IPv4}, "ipv4"},
	} {
		t.Run(name, func(t *testing.T) {
			var saved []savedTable
			for _, t := range parseSave(c.four) {
				saved = append(saved, savedTable{"iptables", t})
			}
			for _, t := range parseSave(c.six) {
				saved = append(saved, savedTable{"ip6tables-legacy", t})
			}
			if got := unready(saved, c.sets, c.families); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
				t.Errorf("missing %q, want %q", got, c.want)
			}
		})
	}
}
