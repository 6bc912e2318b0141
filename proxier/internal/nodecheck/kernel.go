package nodecheck

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

var kernelChecks = []Check{{
	Code: "IPX-201", Name: "IPVSMissing", Stops: true,
	Looks:       "whether the kernel has IPVS (module `ip_vs`)",
	Consequence: "no Service can be programmed",
	Fix:         "install the kernel's package that has ip_vs (on Debian linux-image-KIND, on RHEL kernel-modules), then: modprobe ip_vs",
	evaluate: func(f Facts, _ Wanted) []result {
		return modules(f, []string{ipvsModule}, "IPVS is in the kernel", Fails)
	},
}, {
	Code: "IPX-202", Name: "SchedulerMissing",
	Looks:       "whether the kernel has the schedulers that the configuration names, or the default one",
	Consequence: "Services whose scheduler is missing are not programmed",
	Fix:         "install the kernel's package that has ip_vs_NAME, then: modprobe ip_vs_NAME",
	evaluate:    evaluateSchedulers,
}, {
	Code: "IPX-203", Name: "SetTypeMissing",
	Looks:       "whether the kernel has ipset and the types of sets that the rules ask",
	Consequence: "sets cannot be made, nor the rules that ask them: nothing is programmed",
	Fix:         "install the kernel's package that has the modules, then: modprobe -a NAME",
	evaluate: func(f Facts, _ Wanted) []result {
		return modules(f, setModules, "the types of sets are in the kernel", Fails)
	},
}, {
	Code: "IPX-204", Name: "MatchMissing",
	Looks:       "whether the kernel has what the iptables rules need",
	Consequence: "the rules cannot be written: nothing is programmed",
	Fix:         "install the kernel's package that has the modules, then: modprobe -a NAME",
	evaluate: func(f Facts, _ Wanted) []result {
		return modules(f, ruleModules, "what the rules need is in the kernel", Fails)
	},
}, {
	Code: "IPX-205", Name: "IPVSMatchMissing",
	Looks:       "whether iptables can match what IPVS has sent on (module `xt_ipvs`)",
	Consequence: "a pod that reaches itself by its own address, past its Service, is masqueraded, too",
	Fix:         "install the kernel's package that has xt_ipvs, then: modprobe xt_ipvs",
	evaluate: func(f Facts, _ Wanted) []result {
		return modules(f, []string{ipvsMatch}, "iptables can match what IPVS has sent on", Warns)
	},
}, {
	Code: "IPX-206", Name: "ConntrackEventsMissing",
	Looks:       "whether the kernel shows its connection tracking (module `nf_conntrack_netlink`)",
	Consequence: "UDP clients stay with endpoints that are gone, and connections from outside of the source ranges are not cut off",
	Fix:         "install the kernel's package that has nf_conntrack_netlink, then: modprobe nf_conntrack_netlink",
	evaluate: func(f Facts, _ Wanted) []result {
		return modules(f, []string{conntrackEvents}, "the kernel shows its connection tracking", Fails)
	},
}, {
	Code: "IPX-207", Name: "DummyMissing",
	Looks:       "whether the kernel has links of the kind `dummy`, with `--vip-mode=address`",
	Consequence: "service addresses cannot be made local: nothing is programmed",
	Fix:         "install the kernel's package that has dummy, then: modprobe dummy; or start with --vip-mode=route",
	evaluate: func(f Facts, w Wanted) []result {
		if !w.Dummy {
			return nil
		}
		return by("install the kernel's package that has dummy, then: modprobe dummy; or start with --vip-mode=route",
			modules(f, []string{dummyModule}, "the kernel has links of the kind dummy", Fails)...)
	},
}}

// modules evaluates modules that are needed: severity is how bad it is that one is missing.
func modules(f Facts, names []string, right string, severity Severity) []result {
	var absent, doubtful []string
	for _, name := range names {
		switch f.Modules[name] {
		case Absent:
			absent = append(absent, name)
		case "":
			doubtful = append(doubtful, name)
		}
	}
	switch {
	case len(absent) > 0:
		return []result{{
			severity: severity,
			found: fmt.Sprintf("kernel %s has no %s: it is not loaded, not built in, and in no list below /lib/modules",
				f.Kernel, strings.Join(absent, ", ")),
			fix: "install the kernel's package that has it, then: modprobe -a " + strings.Join(absent, " "),
		}}
	case len(doubtful) > 0:
		more := ""
		if len(doubtful) > 1 {
			more = fmt.Sprintf(" and %d more", len(doubtful)-1)
		}
		return unknown(fmt.Sprintf("whether there is %s%s: %s", doubtful[0], more, f.ModulesWhy))
	}
	return ok(fmt.Sprintf("%s (%s)", right, how(f, names)))
}

// how says how modules are there: "loaded", "loaded or loadable".
func how(f Facts, names []string) string {
	var states []string
	for _, state := range []ModuleState{Loaded, BuiltIn, Loadable} {
		if slices.ContainsFunc(names, func(name string) bool { return f.Modules[name] == state }) {
			states = append(states, string(state))
		}
	}
	return strings.Join(states, " or ")
}

func evaluateSchedulers(f Facts, w Wanted) []result {
	var needed, chosen []string
	var results []result
	for _, name := range scheduler.KernelNames() {
		s, _ := scheduler.OfKernel(name)
		state := f.Modules[schedulerModule(name)]
		if slices.Contains(w.Schedulers, name) {
			needed = append(needed, schedulerModule(name))
			if s.LoadedByNode && state == Loadable {
				results = append(results, by("echo "+schedulerModule(name)+" > /etc/modules-load.d/ipvs-proxier.conf; modprobe "+
					schedulerModule(name), result{
					severity: Fails, found: fmt.Sprintf("%s is not loaded, and only the node may load it (docs/installing.md)",
						schedulerModule(name)),
				})...)
			}
		} else if !s.LoadedByNode {
			chosen = append(chosen, schedulerModule(name))
		}
	}
	if len(results) > 0 {
		return results
	}
	results = modules(f, needed, "the schedulers are in the kernel", Fails)
	if results[0].severity != OK {
		return results
	}
	var missing []string
	for _, module := range chosen {
		if f.Modules[module] == Absent {
			missing = append(missing, module)
		}
	}
	if len(missing) > 0 {
		// An older kernel works without them: a Service that chooses one gets a Problem.
		results[0].found += ", but for " + strings.Join(missing, ", ") + ", which no Service can choose"
	}
	return results
}
