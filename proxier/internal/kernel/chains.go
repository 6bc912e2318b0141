package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"

	"github.com/coreos/go-iptables/iptables"
	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
)

// chains handles our iptables chains. Their contents go in with one iptables-restore for each table, which the kernel takes
// as a whole or not at all; they are read with one iptables-save; hooks go through go-iptables. Our rules are few
// and do not change while Services do, so that no process is ever started for a Service.
type chains struct {
	families  []cluster.Family
	tables    map[cluster.Family]*iptables.IPTables
	processes uint64
	// spelled are the chains that are listed in another spelling than we wrote them.
	spelled map[dataplane.ChainID]spelling
}

type spelling struct{ written, listed []string }

// commands are the programs of each family.
var commands = map[cluster.Family]string{cluster.IPv4: "iptables", cluster.IPv6: "ip6tables"}

func newChains(families []cluster.Family) (*chains, error) {
	c := &chains{
		families: families,
		tables:   map[cluster.Family]*iptables.IPTables{},
		spelled:  map[dataplane.ChainID]spelling{},
	}
	for _, family := range families {
		protocol := iptables.ProtocolIPv4
		if family == cluster.IPv6 {
			protocol = iptables.ProtocolIPv6
		}
		// Another program may hold the lock for some seconds.
		t, err := iptables.New(iptables.IPFamily(protocol), iptables.Timeout(10))
		if err != nil {
			return nil, fmt.Errorf("%s does not work: %w (on Debian and Ubuntu: apt-get install iptables)", commands[family], err)
		}
		c.processes++
		c.tables[family] = t
	}
	return c, nil
}

// run starts one of the programs and returns its output.
func (c *chains) run(input []byte, name string, args ...string) ([]byte, error) {
	c.processes++
	cmd := exec.Command(name, args...)
	cmd.Stdin = bytes.NewReader(input)
	var out, words bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &words
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(words.String()))
	}
	return out.Bytes(), nil
}

// apply writes or deletes chains of one table.
func (c *chains) apply(ops []dataplane.Op) []error {
	errs := make([]error, len(ops))
	if err := c.restore(ops); err == nil || len(ops) == 1 {
		for i := range errs {
			errs[i] = err
		}
		return errs
	}
	// Nothing was done. One by one shows which of them is at fault.
	for i := range ops {
		errs[i] = c.restore(ops[i : i+1])
	}
	return errs
}

func (c *chains) restore(ops []dataplane.Op) error {
	id := ops[0].Object.(dataplane.Chain).ID
	var b bytes.Buffer
	fmt.Fprintf(&b, "*%s\n", id.Table)
	for _, op := range ops {
		fmt.Fprintf(&b, ":%s - [0:0]\n", op.Object.(dataplane.Chain).ID.Name) // empties it, or makes it
	}
	for _, op := range ops {
		chain := op.Object.(dataplane.Chain)
		if op.Verb == dataplane.Delete {
			fmt.Fprintf(&b, "-X %s\n", chain.ID.Name)
			continue
		}
		for _, rule := range chain.Rules {
			fmt.Fprintf(&b, "-A %s %s\n", chain.ID.Name, rule)
		}
	}
	b.WriteString("COMMIT\n")
	if _, err := c.run(b.Bytes(), commands[id.Family]+"-restore", "--noflush", "-w", "10"); err != nil {
		return err
	}
	return c.learn(id.Family, id.Table, ops)
}

// learn lists what was written just now: where the words differ, that is how this iptables spells our rules. Later it could
// be what somebody else has done to them.
func (c *chains) learn(family cluster.Family, table string, ops []dataplane.Op) error {
	listed := dataplane.NewState()
	if err := c.list(listed, family, "-t", table); err != nil {
		return err
	}
	for _, op := range ops {
		chain := op.Object.(dataplane.Chain)
		delete(c.spelled, chain.ID)
		if now := listed.Chains[chain.ID].Rules; op.Verb != dataplane.Delete && len(now) == len(chain.Rules) && !slices.Equal(now, chain.Rules) {
			c.spelled[chain.ID] = spelling{chain.Rules, now}
		}
	}
	return nil
}

// hook inserts or deletes the jump from a built-in chain. There is never a second one: whether the first try was carried
// out is not always known, and somebody may have copied it.
func (c *chains) hook(verb dataplane.Verb, h dataplane.Hook) error {
	t := c.tables[h.Chain.Family]
	if t == nil {
		return fmt.Errorf("%s is not served: %w", h.Chain.Family, unix.EAFNOSUPPORT)
	}
	rule := []string{"-m", "comment", "--comment", h.Comment, "-j", h.Chain.Name}
	if verb != dataplane.Delete {
		c.processes += 2
		if h.Last() {
			return t.AppendUnique(h.Chain.Table, h.Builtin, rule...)
		}
		return t.InsertUnique(h.Chain.Table, h.Builtin, 1, rule...)
	}
	for first := true; ; first = false {
		c.processes++
		if err := t.Delete(h.Chain.Table, h.Builtin, rule...); err != nil {
			var gone *iptables.Error
			if !first && errors.As(err, &gone) && gone.IsNotExist() {
				return nil
			}
			return err
		}
	}
}

// observe puts our chains and hooks into s.
func (c *chains) observe(s *dataplane.State) error {
	for _, family := range c.families {
		if err := c.list(s, family); err != nil {
			return err
		}
	}
	for id, chain := range s.Chains {
		if known, found := c.spelled[id]; found && slices.Equal(known.listed, chain.Rules) {
			chain.Rules = known.written
			s.Chains[id] = chain
		}
	}
	return nil
}

// list puts our chains and hooks into s, as iptables-save spells them. args limit it to a table.
func (c *chains) list(s *dataplane.State, family cluster.Family, args ...string) error {
	out, err := c.run(nil, commands[family]+"-save", args...)
	if err != nil {
		return fmt.Errorf("list %s chains: %w", family, err)
	}
	parseSave(s, family, string(out))
	return nil
}

// parseSave reads what iptables-save prints.
func parseSave(s *dataplane.State, family cluster.Family, text string) {
	table := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "*"); ok {
			table = name
			continue
		}
		if name, ok := strings.CutPrefix(line, ":"+dataplane.Prefix); ok {
			name, _, _ = strings.Cut(name, " ")
			id := dataplane.ChainID{Family: family, Table: table, Name: dataplane.Prefix + name}
			s.Chains[id] = dataplane.Chain{ID: id}
			continue
		}
		rule, ok := strings.CutPrefix(line, "-A ")
		if !ok {
			continue
		}
		name, rule, _ := strings.Cut(rule, " ")
		id := dataplane.ChainID{Family: family, Table: table, Name: name}
		if strings.HasPrefix(name, dataplane.Prefix) {
			chain := s.Chains[id]
			chain.ID = id
			chain.Rules = append(chain.Rules, rule)
			chain.References()
			s.Chains[id] = chain
		} else if target, comment, ours := parseHook(rule); ours {
			id.Name = target
			s.Hooks[dataplane.Hook{Chain: id, Builtin: name, Comment: comment}] = struct{}{}
		}
	}
}

// hookComment begins the comments of our hooks: a jump without it is somebody else's.
const hookComment = "ipvs-proxier: "

// parseHook reads a rule of a built-in chain; ours when it jumps to one of our chains with a comment of ours.
func parseHook(rule string) (target, comment string, ours bool) {
	_, target, found := strings.Cut(rule, "-j ")
	target = strings.TrimSpace(target)
	if !found || !strings.HasPrefix(target, dataplane.Prefix) {
		return "", "", false
	}
	if _, rest, has := strings.Cut(rule, `--comment "`); has {
		comment, _, _ = strings.Cut(rest, `"`)
	}
	return target, comment, strings.HasPrefix(comment, hookComment)
}
