package predecessor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	vnl "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/internal/command"
	"github.com/ipvs-proxier/ipvs-proxier/ipset"
	"github.com/ipvs-proxier/ipvs-proxier/ipset/client"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/iptables"
)

// Leftovers are what a proxy has in the kernel of this network namespace, beside virtual servers and what it shares
// with us.
type Leftovers struct {
	Proxy Proxy
	// Rules counts the proxy's rules in chains of others, such as jumps, Chains its chains, over families and tables.
	Rules, Chains int
	// Sets and Links are names.
	Sets, Links []string
	// Kept are chains and sets of the proxy's that stay, because rules of others lead to them, each with such a rule.
	Kept []string
	// ByHand are commands that remove what Remove does not.
	ByHand []string

	removals []familyRemoval
}

type familyRemoval struct {
	program string // "iptables", "ip6tables-legacy"
	removal
}

// Empty says that there is nothing to remove.
func (l Leftovers) Empty() bool { return l.Rules+l.Chains+len(l.Sets)+len(l.Links) == 0 }

// String returns for example "11 chains, 9 rules in chains of others, 34 sets, link kube-dummy-if".
func (l Leftovers) String() string {
	var parts []string
	count := func(n int, what string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, what))
		}
	}
	count(l.Chains, "chains")
	count(l.Rules, "rules in chains of others")
	count(len(l.Sets), "sets")
	for _, link := range l.Links {
		parts = append(parts, "link "+link)
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}

// Find returns what the proxies have left, in their order. link is the name of our own dummy link, which stays in any
// case. It changes nothing.
func Find(ctx context.Context, link string, proxies ...Proxy) ([]Leftovers, error) {
	saved, err := save(ctx)
	if err != nil {
		return nil, err
	}
	var all []Leftovers
	for _, proxy := range proxies {
		l, err := find(ctx, saved, proxy, link)
		if err != nil {
			return nil, fmt.Errorf("look for what %s has left: %w", proxy, err)
		}
		all = append(all, l)
	}
	return all, nil
}

func find(ctx context.Context, saved []savedTable, proxy Proxy, link string) (Leftovers, error) {
	l := Leftovers{Proxy: proxy}
	of, known := traces[proxy]
	if !known {
		return l, fmt.Errorf("BUG: %q is not a proxy that can be succeeded", proxy)
	}
	if err := l.findSets(of, l.findRules(saved, of)); err != nil {
		return l, fmt.Errorf("list sets: %w", err)
	}
	if of.link != link {
		if err := l.findLink(of.link); err != nil {
			return l, err
		}
	}
	if proxy == KubeProxy {
		l.findNFTables(ctx)
	} else {
		l.findPolicyRouting()
	}
	return l, nil
}

// savedTable is a table as a back end of iptables has it.
type savedTable struct {
	program string
	table
}

// save lists the rules of all back ends.
func save(ctx context.Context) (saved []savedTable, err error) {
	for _, program := range backEnds(ctx) {
		text, err := command.Run(ctx, nil, program.name+"-save")
		if err != nil {
			if program.optional {
				continue // what this kernel cannot list it does not have
			}
			return nil, fmt.Errorf("list rules: %w", err)
		}
		for _, t := range parseSave(string(text)) {
			saved = append(saved, savedTable{program.name, t})
		}
	}
	return saved, nil
}

// findRules returns the sets that rules name which stay.
func (l *Leftovers) findRules(saved []savedTable, of trace) (used []string) {
	for _, t := range saved {
		p := plan(t.table, of)
		used = append(used, p.sets...)
		l.Kept = append(l.Kept, p.kept...)
		if p.empty() {
			continue
		}
		l.Rules, l.Chains = l.Rules+len(p.rules), l.Chains+len(p.chains)
		l.removals = append(l.removals, familyRemoval{t.program, p})
	}
	return used
}

type backEnd struct {
	name     string
	optional bool
}

// backEnds returns the iptables programs whose rules the kernel may hold. They are those that we use ourselves, and
// those of the other back end where they are installed: the predecessor may have brought its own. A listing of the
// legacy back end's tables creates them, so they are listed only where there are some.
func backEnds(ctx context.Context) (found []backEnd) {
	for _, family := range []struct{ name, tables string }{
		{"iptables", "/proc/net/ip_tables_names"}, {"ip6tables", "/proc/net/ip6_tables_names"},
	} {
		if !installed(family.name + "-save") {
			continue
		}
		found = append(found, backEnd{name: family.name})
		version, _ := command.Run(ctx, nil, family.name, "--version")
		if strings.Contains(string(version), "nf_tables") {
			if names, err := os.ReadFile(family.tables); err == nil && len(names) > 0 && installed(family.name+"-legacy-save") {
				found = append(found, backEnd{family.name + "-legacy", true})
			}
		} else if installed(family.name + "-nft-save") {
			found = append(found, backEnd{family.name + "-nft", true})
		}
	}
	return found
}

func installed(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}

func (l *Leftovers) findSets(of trace, used []string) error {
	sets, err := listSets(of)
	if err != nil {
		return err
	}
	for _, set := range sets {
		if slices.Contains(used, set.Name) {
			l.Kept = append(l.Kept, fmt.Sprintf("set %s (a rule that stays names it)", set.Name))
		} else {
			l.Sets = append(l.Sets, set.Name)
		}
	}
	return nil
}

// listSets returns the proxy's sets that exist.
func listSets(of trace) ([]ipset.Set, error) {
	sets, err := client.New()
	if err != nil {
		return nil, err
	}
	defer sets.Close()
	all, err := sets.List("")
	if err != nil {
		return nil, err
	}
	names := of.setNames()
	return slices.DeleteFunc(all, func(s ipset.Set) bool { return !slices.Contains(names, s.Name) }), nil
}

// findLink looks for the proxy's link; one of another kind is somebody else's.
func (l *Leftovers) findLink(name string) error {
	found, err := vnl.LinkByName(name)
	if missing := (vnl.LinkNotFoundError{}); errors.As(err, &missing) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for link %s: %w", name, err)
	}
	if found.Type() == "dummy" {
		l.Links = append(l.Links, name)
	}
	return nil
}

// findNFTables looks for what kube-proxy's nftables mode leaves: a table in each family (pkg/proxy/nftables).
func (l *Leftovers) findNFTables(ctx context.Context) {
	if !installed("nft") {
		return
	}
	text, err := command.Run(ctx, nil, "nft", "list", "tables")
	if err != nil {
		return // this kernel has no nf_tables
	}
	for line := range strings.Lines(string(text)) {
		if t := strings.TrimSpace(line); t == "table ip kube-proxy" || t == "table ip6 kube-proxy" {
			l.ByHand = append(l.ByHand, "nft delete "+t)
		}
	}
}

// dsrTable and externalTable are kube-router's routing tables for direct server return (pkg/controllers/proxy).
const (
	dsrTable      = 78
	externalTable = 79
)

// findPolicyRouting looks for what kube-router does for direct server return. Its packet marks lead to virtual servers
// that the kernel prefers to ours. But the rules that set the marks cannot be distinguished from those of others: they
// are for the operator.
func (l *Leftovers) findPolicyRouting() {
	for _, family := range []struct {
		number        int
		option, tools string
	}{{unix.AF_INET, "", "iptables"}, {unix.AF_INET6, "-6 ", "ip6tables"}} {
		rules, err := vnl.RuleList(family.number)
		if err != nil {
			continue
		}
		for _, r := range rules {
			switch {
			case r.Table == dsrTable && r.Mark != 0:
				l.ByHand = append(l.ByHand,
					fmt.Sprintf("%s-save -t mangle | grep -- '--set-xmark %#x/' # delete these rules", family.tools, r.Mark),
					fmt.Sprintf("ipvsadm -D -f %d", r.Mark),
					fmt.Sprintf("ip %srule del fwmark %#x table %d", family.option, r.Mark, dsrTable))
			case r.Table == externalTable:
				l.ByHand = append(l.ByHand, fmt.Sprintf("ip %srule del table %d", family.option, externalTable))
			}
		}
	}
}

// Remove removes what Find finds, with one iptables-restore for each table, and returns what it was. What has failed is
// in the error; the rest is done all the same, and a second call does the rest. It is for the time when our own rules
// are in force.
func Remove(ctx context.Context, proxy Proxy, link string) (Leftovers, error) {
	found, err := Find(ctx, link, proxy)
	if err != nil {
		return Leftovers{Proxy: proxy}, err
	}
	l := found[0]
	errs := []error{l.removeRules(ctx), destroy(l.Sets)}
	for _, name := range l.Links {
		if err := deleteLink(name); err != nil {
			errs = append(errs, fmt.Errorf("delete link %s: %w", name, err))
		}
	}
	return l, errors.Join(errs...)
}

// removeRules removes the rules and chains. All tables share the lock of iptables. A program that holds it is waited
// for once.
func (l *Leftovers) removeRules(ctx context.Context) error {
	var errs []error
	for i, r := range l.removals {
		_, err := command.Run(ctx, []byte(r.restore()), r.program+"-restore", "--noflush", "-w", "10")
		if err == nil {
			continue
		}
		errs = append(errs, fmt.Errorf("remove the rules of %s from table %s: %w", l.Proxy, r.table, err))
		if failed := (*command.Error)(nil); errors.As(err, &failed) && iptables.LockHeld(failed.Words) {
			if left := len(l.removals) - i - 1; left > 0 {
				errs = append(errs, fmt.Errorf("%d more tables wait for that lock", left))
			}
			break
		}
	}
	return errors.Join(errs...)
}

// destroy destroys sets; those that are gone by now are no error.
func destroy(names []string) error {
	if len(names) == 0 {
		return nil
	}
	sets, err := client.New()
	if err != nil {
		return err
	}
	defer sets.Close()
	var errs []error
	for _, name := range names {
		if err := sets.Destroy(name); err != nil && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("destroy set %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

func deleteLink(name string) error {
	link, err := vnl.LinkByName(name)
	if missing := (vnl.LinkNotFoundError{}); errors.As(err, &missing) {
		return nil
	}
	if err != nil {
		return err
	}
	return vnl.LinkDel(link)
}
