package kernel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/internal/command"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/iptables"
)

// chains handles our iptables chains, and the hooks that lead to them. What is written goes in with one
// iptables-restore for each family, which the kernel takes table by table as a whole or not at all; it is read with one
// iptables-save. Our rules are few and do not change while Services do, so that no process is ever started for a
// Service.
type chains struct {
	families  []cluster.Family
	processes uint64
	spelled   *spellings
	// wrote are the rules of each chain as they were written last.
	wrote map[dataplane.ChainID][]string
	// counted are the hooks of each family at the last look: those that are written soon after it need no other one.
	counted map[cluster.Family]counted
	// others are the rules of each family that the other kind of iptables has written.
	others map[cluster.Family]*otherVariant
	// held is the end of the last wait for the lock that another program kept.
	held time.Time
	// unchanged keeps what was read, for as long as the rules' generation stays the same; nil reads everything each
	// time.
	unchanged *unchanged
}

// errHeld marks what was not written because another program kept the lock of iptables (/run/xtables.lock).
var errHeld = errors.New("another program holds the lock of iptables")

const (
	// lockWait is how long a program waits for that lock, in seconds.
	lockWait = "10"
	// heldFor is how long nobody waits for it again: the rules of both families, one after the other, cost one wait.
	heldFor = 5 * time.Second
)

// counted says how often each of our hooks was there at a time.
type counted struct {
	of map[dataplane.Hook]int
	at time.Time
}

// fresh is how old it may be when hooks are written: a start reads the kernel before the API's lists are there.
const fresh = 15 * time.Second

// spellings are the chains that are listed in another spelling than we wrote them. A Reader shares them with the Linux
// that writes.
type spellings struct {
	mu sync.Mutex
	of map[dataplane.ChainID]spelling
}

type spelling struct{ written, listed []string }

func (s *spellings) learn(id dataplane.ChainID, written, listed []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(listed) == len(written) && !slices.Equal(listed, written) {
		s.of[id] = spelling{written, listed}
	} else {
		delete(s.of, id)
	}
}

// written returns the rules as we wrote them.
func (s *spellings) written(id dataplane.ChainID, listed []string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, found := s.of[id]; found && slices.Equal(known.listed, listed) {
		return known.written
	}
	return listed
}

// commands are the programs of each family.
var commands = map[cluster.Family]string{cluster.IPv4: "iptables", cluster.IPv6: "ip6tables"}

func newChains(families []cluster.Family) (*chains, error) {
	for _, family := range families {
		for _, program := range []string{"-save", "-restore"} {
			if _, err := exec.LookPath(commands[family] + program); err != nil {
				return nil, fmt.Errorf("%s%s is not installed: %w (on Debian and Ubuntu: apt-get install iptables)",
					commands[family], program, err)
			}
		}
	}
	others := map[cluster.Family]*otherVariant{}
	for _, family := range families {
		others[family] = newOtherVariant(family)
	}
	return &chains{
		families: families, spelled: &spellings{of: map[dataplane.ChainID]spelling{}},
		wrote: map[dataplane.ChainID][]string{}, counted: map[cluster.Family]counted{}, others: others,
	}, nil
}

// run starts one of the programs and returns its output.
func (c *chains) run(input []byte, name string, args ...string) ([]byte, error) {
	c.processes++
	out, err := command.Run(context.Background(), input, name, args...)
	if failed := (*command.Error)(nil); errors.As(err, &failed) && iptables.LockHeld(failed.Words) {
		return nil, fmt.Errorf("%s waited %s s: %w (%s)", name, lockWait, errHeld, failed.Words)
	}
	return out, err
}

// apply writes or deletes chains and hooks of one family.
func (c *chains) apply(ops []dataplane.Op) []error {
	errs := make([]error, len(ops))
	// To try one by one would be another wait for each.
	if err := c.restore(ops); err == nil || len(ops) == 1 || errors.Is(err, errHeld) ||
		errors.Is(err, context.DeadlineExceeded) {
		for i := range errs {
			errs[i] = err
		}
		return errs
	}
	// Some tables may have been done, and can be done again. One by one shows which operation is at fault.
	for i := range ops {
		errs[i] = c.restore(ops[i : i+1])
	}
	return errs
}

// input is what iptables-restore reads.
type input struct {
	tables []string // in the order of their first lines
	lines  map[string][]string
}

func (in *input) add(table, format string, args ...any) {
	if in.lines == nil {
		in.lines = map[string][]string{}
	}
	if in.lines[table] == nil {
		in.tables = append(in.tables, table)
	}
	in.lines[table] = append(in.lines[table], fmt.Sprintf(format, args...))
}

func (in *input) text() []byte {
	var b bytes.Buffer
	for _, table := range in.tables {
		fmt.Fprintf(&b, "*%s\n%s\nCOMMIT\n", table, strings.Join(in.lines[table], "\n"))
	}
	return b.Bytes()
}

// write has the input carried out; another program may hold the lock for some seconds.
func (c *chains) write(family cluster.Family, in *input) error {
	if time.Since(c.held) < heldFor {
		return fmt.Errorf("%s-restore: %w", commands[family], errHeld)
	}
	_, err := c.run(in.text(), commands[family]+"-restore", "--noflush", "-w", lockWait)
	if errors.Is(err, errHeld) {
		c.held = time.Now()
	}
	return err
}

func (c *chains) restore(ops []dataplane.Op) error {
	family, err := c.familyOf(ops[0])
	if err != nil {
		return err
	}
	var in input
	in.chains(ops)
	if err := c.hooks(&in, family, ops); err != nil {
		return err
	}
	if len(in.tables) == 0 {
		return nil
	}
	if err := c.write(family, &in); err != nil {
		return err
	}
	return c.learn(family, c.note(ops))
}

func (c *chains) familyOf(op dataplane.Op) (family cluster.Family, err error) {
	switch o := op.Object.(type) {
	case dataplane.Chain:
		family = o.ID.Family
	case dataplane.Hook:
		family = o.Chain.Family
	}
	if !slices.Contains(c.families, family) {
		return family, fmt.Errorf("%s is not served: %w", family, unix.EAFNOSUPPORT)
	}
	return family, nil
}

// chains adds what writes or deletes the chains among ops.
func (in *input) chains(ops []dataplane.Op) {
	for _, op := range ops {
		if chain, is := op.Object.(dataplane.Chain); is {
			in.add(chain.ID.Table, ":%s - [0:0]", chain.ID.Name) // empties it, or makes it
		}
	}
	for _, op := range ops {
		chain, is := op.Object.(dataplane.Chain)
		if is && op.Verb == dataplane.Delete {
			in.add(chain.ID.Table, "-X %s", chain.ID.Name)
			continue
		}
		for _, rule := range texts(chain) {
			in.add(chain.ID.Table, "-A %s %s", chain.ID.Name, rule)
		}
	}
}

// note remembers how chains were written, and returns those that were written the same way before.
func (c *chains) note(ops []dataplane.Op) (again []dataplane.ChainID) {
	for _, op := range ops {
		chain, is := op.Object.(dataplane.Chain)
		switch {
		case !is:
		case op.Verb == dataplane.Delete:
			delete(c.wrote, chain.ID)
		default:
			written := texts(chain)
			if slices.Equal(c.wrote[chain.ID], written) {
				again = append(again, chain.ID)
			}
			c.wrote[chain.ID] = written
		}
	}
	return again
}

// learn lists chains that had to be written a second time. Where their words differ just after that, it is how this
// iptables spells our rules, which are spelled as current ones do; where they do not, somebody else had changed them.
func (c *chains) learn(family cluster.Family, again []dataplane.ChainID) error {
	if len(again) == 0 {
		return nil
	}
	text, err := c.save(family)
	if err != nil {
		return err
	}
	listed := parseSave(family, text)
	for _, id := range again {
		c.spelled.learn(id, c.wrote[id], listed.chains[id])
	}
	return nil
}

// texts returns the rules of a chain in the words of iptables.
func texts(chain dataplane.Chain) []string {
	var rules []string
	for _, rule := range chain.Rules {
		rules = append(rules, iptables.Words{}.Rule(chain.ID.Family, rule))
	}
	return rules
}

// hooks adds what inserts or deletes the jumps from built-in chains among ops. There is never a second one of a kind:
// whether the first try was carried out is not always known, and somebody may have copied it.
func (c *chains) hooks(in *input, family cluster.Family, ops []dataplane.Op) error {
	var present map[dataplane.Hook]int
	for _, op := range ops {
		h, is := op.Object.(dataplane.Hook)
		if !is {
			continue
		}
		if present == nil {
			var err error
			if present, err = c.count(family); err != nil {
				return err
			}
		}
		rule := strings.TrimPrefix(fmt.Sprintf("%s -m comment --comment %q -j %s",
			iptables.Words{}.HookMatch(h.Match), h.Comment, h.Chain.Name), " ")
		switch {
		case op.Verb == dataplane.Delete && present[h] == 0:
			return fmt.Errorf("there is no such rule: %w", unix.ENOENT)
		case op.Verb == dataplane.Delete:
			for range present[h] {
				in.add(h.Chain.Table, "-D %s %s", h.Builtin, rule)
			}
			present[h] = 0
		case present[h] > 0:
		case h.Last():
			in.add(h.Chain.Table, "-A %s %s", h.Builtin, rule)
			present[h]++
		default:
			in.add(h.Chain.Table, "-I %s 1 %s", h.Builtin, rule)
			present[h]++
		}
	}
	return nil
}

// count returns how often each of our hooks is there; the caller is about to change that.
func (c *chains) count(family cluster.Family) (map[dataplane.Hook]int, error) {
	last, is := c.counted[family]
	delete(c.counted, family)
	if is && time.Since(last.at) <= fresh {
		return last.of, nil
	}
	text, err := c.save(family)
	if err != nil {
		return nil, err
	}
	return parseSave(family, text).hooks, nil
}

// observe puts our chains and hooks into seen, and the rules of others that take packets away.
func (c *chains) observe(seen *dataplane.Observation) error {
	s := seen.State
	var captures []dataplane.Capture
	clear(c.counted)
	generation, known := c.unchanged.generation()
	for _, family := range c.families {
		began := time.Now()
		rules, found := c.unchanged.at(family, generation, known)
		if !found {
			text, err := c.save(family)
			if err != nil {
				return err
			}
			rules = listedRules{parseSave(family, text), iptables.Captures(family, "", text)}
			c.unchanged.put(family, generation, known, rules)
		}
		c.counted[family] = counted{rules.listing.hooks, began}
		c.show(s, rules.listing)
		others, err := c.others[family].captures(family, c.run)
		if err != nil {
			seen.UnreadRules = append(seen.UnreadRules, err.Error())
		}
		captures = append(append(captures, rules.captures...), others...)
	}
	seen.Captures = dataplane.NewCaptures(captures)
	return nil
}

// show puts what is listed into the State.
func (c *chains) show(s *dataplane.State, l listing) {
	for id, rules := range l.chains {
		chain := dataplane.Chain{ID: id}
		for _, rule := range c.spelled.written(id, rules) {
			chain.Rules = append(chain.Rules, iptables.ParseRule(id.Family, rule))
		}
		chain.References()
		s.Chains[id] = chain
	}
	for hook := range l.hooks {
		s.Hooks[hook] = struct{}{}
	}
	if l.closed {
		s.Closed[l.family] = struct{}{}
	}
}

func (c *chains) save(family cluster.Family) (string, error) {
	out, err := c.run(nil, commands[family]+"-save")
	if err != nil {
		return "", fmt.Errorf("list %s chains: %w", family, err)
	}
	return string(out), nil
}

// listing is what iptables-save prints of one family: the rules of our chains, and how often each of our hooks is
// there. It says, too, whether the policy of the filter's INPUT is another one than ACCEPT.
type listing struct {
	family cluster.Family
	chains map[dataplane.ChainID][]string
	hooks  map[dataplane.Hook]int
	closed bool
}

func parseSave(family cluster.Family, text string) listing {
	l := listing{family: family, chains: map[dataplane.ChainID][]string{}, hooks: map[dataplane.Hook]int{}}
	table := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "*"); ok {
			table = name
			continue
		}
		if policy, ok := strings.CutPrefix(line, ":INPUT "); ok && table == "filter" && !strings.HasPrefix(policy, "ACCEPT") {
			l.closed = true
			continue
		}
		if name, ok := strings.CutPrefix(line, ":"+dataplane.Prefix); ok {
			name, _, _ = strings.Cut(name, " ")
			l.chains[dataplane.ChainID{Family: family, Table: table, Name: dataplane.Prefix + name}] = nil
			continue
		}
		rule, ok := strings.CutPrefix(line, "-A ")
		if !ok {
			continue
		}
		name, rule, _ := strings.Cut(rule, " ")
		id := dataplane.ChainID{Family: family, Table: table, Name: name}
		if strings.HasPrefix(name, dataplane.Prefix) {
			l.chains[id] = append(l.chains[id], rule)
		} else if hook, ours := parseHook(rule); ours {
			id.Name = hook.Chain.Name
			hook.Chain, hook.Builtin = id, name
			l.hooks[hook]++
		}
	}
	return l
}

// hookComment begins the comments of our hooks: a jump without it is somebody else's.
const hookComment = "ipvs-proxier: "

// parseHook reads a rule of a built-in chain; ours when it jumps to one of our chains with a comment of ours. Of the
// hook's chain it knows the name.
func parseHook(rule string) (hook dataplane.Hook, ours bool) {
	const comment = `-m comment --comment "`
	match, target, found := strings.Cut(rule, "-j ")
	hook.Chain.Name = strings.TrimSpace(target)
	if !found || !strings.HasPrefix(hook.Chain.Name, dataplane.Prefix) {
		return hook, false
	}
	if before, rest, has := strings.Cut(match, comment); has {
		var after string
		hook.Comment, after, _ = strings.Cut(rest, `"`)
		match = before + after
	}
	hook.Match = iptables.ParseHookMatch(strings.Join(strings.Fields(match), " "))
	return hook, strings.HasPrefix(hook.Comment, hookComment)
}
