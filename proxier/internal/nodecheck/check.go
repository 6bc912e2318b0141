package nodecheck

import "slices"

// Check is one thing that is looked at.
type Check struct {
	// Code is never given another meaning, nor used again.
	Code string
	// Name is the reason in one word.
	Name string
	// Looks says what is looked at.
	Looks string
	// Consequence says what follows where it is wrong, Fix what to do about it in general. A finding may say both more
	// exactly.
	Consequence, Fix string
	// Stops says that `run` ends, before it changes anything, where the check fails.
	Stops    bool
	evaluate func(f Facts, w Wanted) []result
}

// result is what a check says. An empty consequence or fix is the check's.
type result struct {
	severity                Severity
	found, consequence, fix string
}

func ok(found string) []result    { return []result{{severity: OK, found: found}} }
func unknown(why string) []result { return []result{{severity: Unknown, found: why}} }
func warns(found string) []result { return []result{{severity: Warns, found: found}} }
func fails(found string) []result { return []result{{severity: Fails, found: found}} }
func by(fix string, r ...result) []result {
	for i := range r {
		r[i].fix = fix
	}
	return r
}

// Checks returns all checks, by code.
func Checks() []Check {
	return slices.Concat(kernelChecks, privilegeChecks, iptablesChecks, networkChecks, limitChecks, apiChecks)
}

// Evaluate says what each check finds, worst first.
func Evaluate(f Facts, w Wanted) Report {
	all := evaluate(f, w, Checks())
	return Report{Node: w.NodeName, Verdict: verdict("node "+w.NodeName, all), Findings: all}
}

// EvaluateStart says what the checks find that need no more facts than `run` has before it changes anything: of the
// kernel, of this process and of iptables.
func EvaluateStart(f Facts, w Wanted) []Finding {
	return evaluate(f, w, slices.Concat(kernelChecks, privilegeChecks, iptablesChecks))
}

// ofIptables are the checks of what iptables and ipset need.
var ofIptables = []string{"IPX-203", "IPX-204", "IPX-205", "IPX-221", "IPX-222", "IPX-223"}

func evaluate(f Facts, w Wanted, checks []Check) (all []Finding) {
	for _, c := range checks {
		if w.NFTables && slices.Contains(ofIptables, c.Code) {
			continue
		}
		for _, r := range c.evaluate(f, w) {
			all = append(all, c.finding(r))
		}
	}
	worstFirst(all)
	return all
}

func (c Check) finding(r result) Finding {
	finding := Finding{Code: c.Code, Name: c.Name, Severity: r.severity, Found: r.found}
	if r.severity == OK {
		return finding
	}
	if finding.Consequence = r.consequence; finding.Consequence == "" && r.severity != Unknown {
		finding.Consequence = c.Consequence
	}
	switch {
	case r.severity == Unknown:
	case r.fix != "":
		finding.Fix = r.fix
	default:
		finding.Fix = c.Fix
	}
	finding.Stops = c.Stops && r.severity == Fails
	return finding
}
