package predecessor

import (
	"embed"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/ipvs-proxier/ipvs-proxier/internal/golden"
	"github.com/ipvs-proxier/ipvs-proxier/ipset"
)

// testdata is embedded: the lab runs the tests somewhere else.
//
//go:embed testdata
var testdata embed.FS

// TestWhatGoes: each file has the rules of a node as iptables-save prints them, and for a predecessor what is given to
// iptables-restore, what is kept, and which sets are still in use.
func TestWhatGoes(t *testing.T) {
	files, err := fs.Glob(testdata, "testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			text, err := testdata.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			archive := txtar.Parse(text)
			content := map[string]string{}
			for _, f := range archive.Files {
				content[f.Name] = string(f.Data)
			}
			var got strings.Builder
			proxy := Proxy(strings.TrimSpace(content["proxy"]))
			for _, table := range parseSave(content["save"]) {
				p := plan(table, traces[proxy])
				if !p.empty() {
					got.WriteString(p.restore())
				}
				for _, kept := range p.kept {
					got.WriteString("kept: " + kept + "\n")
				}
				for _, set := range p.sets {
					got.WriteString("in use: " + set + "\n")
				}
			}
			if golden.Update() {
				for i := range archive.Files {
					if archive.Files[i].Name == "goes" {
						archive.Files[i].Data = []byte(got.String())
					}
				}
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(content["goes"], got.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestSetNames: kube-proxy has 17 sets in each family; two of the IPv6 names are cut at the kernel's limit.
func TestSetNames(t *testing.T) {
	names := traces[KubeProxy].setNames()
	if len(names) != 34 {
		t.Errorf("%d names, want 34", len(names))
	}
	seen := map[string]bool{}
	for _, name := range names {
		if len(name) > ipset.MaxNameLen || seen[name] {
			t.Errorf("%s has %d bytes, or stands twice", name, len(name))
		}
		seen[name] = true
	}
	for _, cut := range []string{"KUBE-6-LOAD-BALANCER-SOURCE-CID", "KUBE-6-NODE-PORT-LOCAL-SCTP-HAS"} {
		if !seen[cut] {
			t.Errorf("%s is missing", cut)
		}
	}
}

// TestEveryLedgerSetIsASet: the sets that name virtual servers are among those that are removed later.
func TestEveryLedgerSetIsASet(t *testing.T) {
	for _, proxy := range Proxies() {
		names := map[string]bool{}
		for _, name := range traces[proxy].sets {
			names[name] = true
		}
		for _, name := range traces[proxy].frontEnds {
			if !names[name] {
				t.Errorf("%s: %s is no set of it", proxy, name)
			}
		}
		for name := range traces[proxy].nodePorts {
			if !names[name] {
				t.Errorf("%s: %s is no set of it", proxy, name)
			}
		}
	}
}

// FuzzParseSave: no text brings the reader down, and what goes is never a chain or rule of nobody's.
func FuzzParseSave(f *testing.F) {
	f.Add("*nat\n:KUBE-SERVICES - [0:0]\n-A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\nCOMMIT\n")
	f.Add(":X\n-A\n*\n:KUBE-SVC-X\n-A KUBE-SVC-X -j\n-A \"\\")
	f.Fuzz(func(t *testing.T, text string) {
		for _, table := range parseSave(text) {
			for _, proxy := range Proxies() {
				p := plan(table, traces[proxy])
				for _, chain := range p.chains {
					if !traces[proxy].owns(table.name, chain) {
						t.Errorf("%q would go", chain)
					}
				}
				for _, r := range p.rules {
					if !traces[proxy].own(table.name, r) {
						t.Errorf("%q would go", r.text)
					}
				}
			}
		}
	})
}
