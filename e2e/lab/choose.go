package main

import (
	"fmt"
	"strings"
)

// kind is a way of getting a kernel with IPVS.
type kind string

const (
	own  kind = "own"  // the machine's own
	uml  kind = "uml"  // User-Mode Linux: a kernel that is an ordinary program
	qemu kind = "qemu" // a distribution's kernel in an emulated machine
)

// kinds is in order of preference: the real thing, then what boots fastest.
var kinds = []kind{own, uml, qemu}

// facts is what was found out about this machine; see gather.
type facts struct {
	root       bool
	again      string // the command by which root does it
	arch       string // as Go calls it
	release    string // of the running kernel
	ownLacks   string // why the machine's own kernel will not do; "" when it seems to
	apt        bool   // packages are installed with apt-get
	listsEmpty bool   // apt knows no package yet
	has        func(program string) bool
	offers     func(debianPackage string) bool // apt could install it; meaningless when listsEmpty
}

func (f facts) mayInstall() bool { return f.root && f.apt }

// requirement is a program and the Debian package that has it.
type requirement struct{ program, debianPackage string }

// always is what the proxier and its tests call, whatever the kernel.
var always = []requirement{
	{"ip", "iproute2"}, {"iptables", "iptables"}, {"ipset", "ipset"}, {"ipvsadm", "ipvsadm"},
	{"conntrack", "conntrack"}, {"modprobe", "kmod"},
}

var besides = map[kind][]requirement{
	uml:  {{"linux.uml", "user-mode-linux"}},
	qemu: {{"qemu-system-x86_64", "qemu-system-x86"}},
}

// way is one kind of kernel, judged.
type way struct {
	kind     kind
	lacks    string   // why it cannot be had here; "" when it can
	packages []string // what has to be installed first
}

// ways judges all kinds, in order of preference.
func ways(f facts) []way {
	var all []way
	for _, k := range kinds {
		w := way{kind: k}
		for _, need := range append(append([]requirement(nil), always...), besides[k]...) {
			if !f.has(need.program) {
				w.packages = append(w.packages, need.debianPackage)
			}
		}
		w.lacks = f.lacks(k, w.packages)
		all = append(all, w)
	}
	return all
}

// somethingMissing says whether any kind that might be taken needs packages; only then is it worth asking the archive.
func somethingMissing(f facts) bool {
	for _, w := range ways(f) {
		if w.lacks == "" {
			return len(w.packages) > 0
		}
	}
	return false
}

func (f facts) lacks(k kind, packages []string) string {
	switch {
	case k == own && f.ownLacks != "":
		return f.ownLacks
	case k != own && f.arch != "amd64":
		return "only on amd64, this machine is " + f.arch
	case len(packages) > 0 && !f.apt:
		return "missing here: what Debian and Ubuntu have in the packages " + strings.Join(packages, " ")
	}
	for _, p := range packages {
		if !f.listsEmpty && !f.offers(p) {
			return "apt-get has no package " + p
		}
	}
	return ""
}

func (w way) line(taken kind) string {
	state := "could be taken"
	switch {
	case w.lacks != "":
		state = "no: " + w.lacks
	case w.kind == taken:
		state = "taken"
	}
	if len(w.packages) > 0 && w.lacks == "" {
		state += ", after installing " + strings.Join(w.packages, " ")
	}
	return fmt.Sprintf("  %-5s %s", w.kind, state)
}

// choice is the way that is taken, and why in a few words.
type choice struct {
	kind     kind
	why      string
	release  string
	packages []string
}

func (c choice) name() string {
	switch c.kind {
	case own:
		return "the machine's own kernel " + c.release
	case uml:
		return "User-Mode Linux"
	}
	return "QEMU"
}

// errTodo is a refusal that the user can lift by typing one command.
type errTodo struct{ reason, command string }

func (e errTodo) Error() string { return e.reason + "; type: " + e.command }

// choose takes the wanted kind or, for "auto", the first one that can be had.
func choose(wanted string, f facts) (choice, error) {
	var reasons []string
	for _, w := range ways(f) {
		if wanted != "auto" && wanted != string(w.kind) {
			continue
		}
		if w.lacks != "" {
			reasons = append(reasons, fmt.Sprintf("%s: %s", w.kind, w.lacks))
			continue
		}
		c := choice{kind: w.kind, why: "asked for", release: f.release, packages: w.packages}
		if wanted == "auto" {
			c.why = "it has IPVS and dummy links"
			if len(reasons) > 0 {
				c.why = strings.Join(reasons, "; ")
			}
		}
		if !f.root {
			return choice{}, errTodo{"root is needed to run on " + c.name(), f.again}
		}
		return c, nil
	}
	if len(reasons) == 0 {
		return choice{}, fmt.Errorf("kernel %q is unknown; allowed are auto, own, uml, qemu", wanted)
	}
	return choice{}, fmt.Errorf("no kernel with IPVS can be had here: %s", strings.Join(reasons, "; "))
}
