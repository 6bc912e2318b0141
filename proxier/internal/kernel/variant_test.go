package kernel

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheRulesTellTheVariant(t *testing.T) {
	const (
		hint   = "*mangle\n:PREROUTING ACCEPT [0:0]\n:KUBE-IPTABLES-HINT - [0:0]\nCOMMIT\n"
		canary = "*mangle\n:KUBE-KUBELET-CANARY - [0:0]\nCOMMIT\n"
		ours   = "*nat\n:IPVSP-POSTROUTING - [0:0]\nCOMMIT\n"
		one    = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -j ACCEPT\nCOMMIT\n"
		two    = "*filter\n[1:60] -A INPUT -j ACCEPT\n[0:0] -A FORWARD -j ACCEPT\nCOMMIT\n"
	)
	for name, c := range map[string]struct {
		nft, legacy string
		want        Variant
		why         string
	}{
		"nothing anywhere":                     {"", "", NFT, "no more rules"},
		"kubelet's hint in nft":                {hint, two, NFT, "KUBE-IPTABLES-HINT"},
		"kubelet's hint in legacy":             {two, hint, Legacy, "KUBE-IPTABLES-HINT"},
		"the hint before the canary":           {canary, hint, Legacy, "KUBE-IPTABLES-HINT"},
		"the canary of an older kubelet":       {one, canary, Legacy, "KUBE-KUBELET-CANARY"},
		"kubelet before us":                    {ours, canary, Legacy, "KUBE-KUBELET-CANARY"},
		"ours of before":                       {one, ours, Legacy, "IPVSP-"},
		"more rules in legacy":                 {one, two, Legacy, "more rules (2, nft 1)"},
		"as many rules":                        {one, one, NFT, "no more rules"},
		"a chain whose name only begins alike": {one, "*nat\n:MY-IPVSP- - [0:0]\nCOMMIT\n", NFT, "no more rules"},
	} {
		t.Run(name, func(t *testing.T) {
			if got, why := variantByRules("\n"+c.nft, "\n"+c.legacy); got != c.want || !strings.Contains(why, c.why) {
				t.Errorf("want %s because of %q, got %s: %s", c.want, c.why, got, why)
			}
		})
	}
}

func TestIptablesIsChosen(t *testing.T) {
	for name, c := range map[string]struct {
		asked  string
		plain  Variant
		image  []Variant
		failed Variant // whose rules cannot be read
		want   Variant
		dir    bool
		words  string // of the error, or of the reason
	}{
		"the machine has chosen":            {AutoVariant, Legacy, []Variant{NFT, Legacy}, "", Legacy, false, "usual names"},
		"nothing is there":                  {AutoVariant, "", nil, "", "", false, "usual names"},
		"one in the image":                  {AutoVariant, "", []Variant{Legacy}, "", Legacy, true, "only one"},
		"the other one in the image":        {AutoVariant, "", []Variant{NFT}, "", NFT, true, "only one"},
		"both":                              {AutoVariant, "", []Variant{NFT, Legacy}, "", Legacy, true, "more rules"},
		"no nf_tables":                      {AutoVariant, "", []Variant{NFT, Legacy}, NFT, Legacy, true, "cannot be read"},
		"no old tables":                     {AutoVariant, "", []Variant{NFT, Legacy}, Legacy, NFT, true, "cannot be read"},
		"asked for, in the image":           {"nft", "", []Variant{NFT, Legacy}, "", NFT, true, "asked for"},
		"asked for, in the image, not used": {"nft", Legacy, []Variant{NFT}, "", NFT, true, "asked for"},
		"asked for, installed":              {"nft", NFT, nil, "", NFT, false, "asked for"},
		"asked for, another is installed":   {"nft", Legacy, nil, "", "", false, "the iptables that is installed is legacy"},
		"asked for, not there":              {"legacy", "", []Variant{NFT}, "", "", false, "is not installed"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, v := range c.image {
				if err := errors.Join(os.Mkdir(
					filepath.Join(dir, string(v)), 0o755,
				), os.WriteFile(filepath.Join(dir, string(v), "iptables-restore"), nil, 0o755)); err != nil {
					t.Fatal(err)
				}
			}
			choice := &iptablesChoice{dir: dir, plain: func() Variant { return c.plain },
				save: func(_ context.Context, v Variant) (string, error) {
					switch v {
					case c.failed:
						return "", errors.New("protocol not supported")
					case Legacy:
						return "\n-A INPUT -j ACCEPT\n", nil
					}
					return "\n", nil
				}}
			got, path, why, err := choice.choose(t.Context(), c.asked)
			words := why
			if err != nil {
				words = err.Error()
			}
			if got != c.want || !strings.Contains(words, c.words) || (path != "") != c.dir {
				t.Errorf("want %s (%q, a directory: %t), got %s (%q), %s", c.want, c.words, c.dir, got, words, path)
			}
			if path != "" && path != filepath.Join(dir, string(got)) {
				t.Errorf("got the directory %s", path)
			}
		})
	}
}
