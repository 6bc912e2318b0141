package kernel

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/internal/command"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// Variant is a kind of iptables: its rules are in nftables (nft) or in the tables of ip_tables (legacy).
type Variant string

// The variants. Rules of both are in force at once, but neither program shows the other one's.
const (
	NFT    Variant = "nft"
	Legacy Variant = "legacy"
)

// AutoVariant stands for the one that the node itself uses.
const AutoVariant = "auto"

// IptablesDir has a directory for each variant where an image brings both, with programs by their usual names.
const IptablesDir = "/usr/lib/ipvs-proxier/iptables"

// iptablesChoice is where a choice is made.
type iptablesChoice struct {
	dir string // as IptablesDir
	// plain returns the variant of the programs that are found by their usual names; "" where there are none.
	plain func() Variant
	// save returns what the variant's programs list of both families.
	save func(context.Context, Variant) (string, error)
}

// ChooseIptables chooses the variant of all programs that are started from now on by the usual names (iptables-restore,
// ip6tables-save …). It returns the variant and the reason. asked is auto, nft or legacy. With auto, programs that are
// installed by their usual names stay as they are: then the machine or the image has chosen. Where an image has both
// ([IptablesDir]), the rules in the kernel say which one the node uses, as kubelet's hint (KEP-3178) does. Call it
// before programs are started: it changes PATH.
func ChooseIptables(ctx context.Context, asked string) (Variant, string, error) {
	chosen, dir, why, err := (&iptablesChoice{dir: IptablesDir, plain: plainVariant, save: savedBy}).choose(ctx, asked)
	if err != nil || dir == "" {
		return chosen, why, err
	}
	return chosen, why, os.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
}

// choose returns the variant, and the directory that PATH has to begin with; "" where it can stay.
func (c *iptablesChoice) choose(ctx context.Context, asked string) (chosen Variant, dir, why string, err error) {
	plain := c.plain()
	switch {
	case asked != AutoVariant && plain == Variant(asked):
		return plain, "", "asked for", nil
	case asked != AutoVariant && c.has(Variant(asked)):
		return Variant(asked), c.of(Variant(asked)), "asked for", nil
	case asked != AutoVariant && plain != "":
		return "", "", "", fmt.Errorf(
			"iptables: %s is asked for, and the iptables that is installed is %s; allowed are auto and what is installed", asked,
			plain,
		)
	case asked != AutoVariant:
		return "", "", "", fmt.Errorf(
			"iptables: %s is asked for, and is not installed: neither by its usual names nor in %s", asked, c.of(Variant(asked)),
		)
	case plain != "" || !c.has(NFT) && !c.has(Legacy):
		return plain, "", "installed by its usual names", nil // what is missing is said where it is needed
	case !c.has(Legacy):
		return NFT, c.of(NFT), "the only one in the image", nil
	case !c.has(NFT):
		return Legacy, c.of(Legacy), "the only one in the image", nil
	}
	nft, err := c.save(ctx, NFT)
	if err != nil {
		// Such as a kernel without nf_tables.
		return Legacy, c.of(Legacy), fmt.Sprintf("rules of nft cannot be read (%v)", err), nil
	}
	legacy, err := c.save(ctx, Legacy)
	if err != nil {
		return NFT, c.of(NFT), fmt.Sprintf("rules of legacy cannot be read (%v)", err), nil
	}
	chosen, why = variantByRules(nft, legacy)
	return chosen, c.of(chosen), why, nil
}

func (c *iptablesChoice) of(v Variant) string { return filepath.Join(c.dir, string(v)) }

func (c *iptablesChoice) has(v Variant) bool {
	_, err := os.Stat(filepath.Join(c.of(v), "iptables-restore"))
	return err == nil
}

// marks are chains that show which variant a node uses, the surest first: kubelet's hint and its canary, then those of
// an earlier run of ours.
var marks = []struct{ chain, of string }{
	{"KUBE-IPTABLES-HINT", "kubelet's chain"}, {"KUBE-KUBELET-CANARY", "kubelet's chain"}, {"IPVSP-", "our own chains of before"},
}

// variantByRules decides by what the programs of each variant list.
func variantByRules(nft, legacy string) (Variant, string) {
	for _, mark := range marks {
		for _, listed := range []struct {
			Variant
			text string
		}{{NFT, nft}, {Legacy, legacy}} {
			if strings.Contains(listed.text, "\n:"+mark.chain) {
				return listed.Variant, mark.of + " is there (" + mark.chain + ")"
			}
		}
	}
	inNFT, inLegacy := len(addedRule.FindAllString(nft, -1)), len(addedRule.FindAllString(legacy, -1))
	if inLegacy > inNFT {
		return Legacy, fmt.Sprintf("it has more rules (%d, nft %d)", inLegacy, inNFT)
	}
	return NFT, fmt.Sprintf("legacy has no more rules (%d, nft %d)", inLegacy, inNFT)
}

// addedRule is a rule as iptables-save prints it, with counters or without.
var addedRule = regexp.MustCompile(`(?m)^(?:\[\d+:\d+\] )?-A `)

// plainVariant follows the links of iptables-restore. Where the name does not show the kind, the program's version
// does.
func plainVariant() Variant {
	path, err := exec.LookPath(commands[cluster.IPv4] + "-restore")
	if err != nil {
		return ""
	}
	if variant := variantOf(path); variant != "" {
		return variant
	}
	version, err := command.Run(context.Background(), nil, path, "--version")
	if err == nil && strings.Contains(string(version), "nf_tables") {
		return NFT
	}
	return Legacy // also of versions before 1.8, which have no word for it
}

// variantOf returns the kind by the file that a program's links lead to; "" where the file's name does not show it.
func variantOf(path string) Variant {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return ""
	}
	for _, variant := range []Variant{NFT, Legacy} {
		if filepath.Base(target) == "xtables-"+string(variant)+"-multi" {
			return variant
		}
	}
	return ""
}

// savedBy lists the rules of a variant in an image that has both. A listing of legacy tables creates them: legacy is
// listed only where there are some.
func savedBy(ctx context.Context, v Variant) (string, error) {
	var all strings.Builder
	for _, family := range []struct{ command, tables string }{
		{commands[cluster.IPv4], "/proc/thread-self/net/ip_tables_names"},
		{commands[cluster.IPv6], "/proc/thread-self/net/ip6_tables_names"},
	} {
		if v == Legacy {
			if names, err := os.ReadFile(family.tables); err != nil || len(names) == 0 {
				continue
			}
		}
		out, err := command.Run(ctx, nil, filepath.Join(IptablesDir, string(v), family.command+"-save"))
		if err != nil {
			return "", err
		}
		all.WriteString("\n")
		all.Write(out)
	}
	return all.String(), nil
}
