// Package convert turns the configuration of other service proxies into ours, and says what is not carried over.
package convert

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// Note is something that an operator should know about the result.
type Note struct {
	// Field is the field or flag of the other proxy, Value what it was set to.
	Field, Value string
	// Text says what becomes of it, and what to do instead.
	Text string
	// Lost says that something which decides about traffic is not carried over.
	Lost bool
}

// String returns "field: value: text".
func (n Note) String() string {
	if n.Value == "" {
		return n.Field + ": " + n.Text
	}
	return fmt.Sprintf("%s: %s: %s", n.Field, n.Value, n.Text)
}

// Result is our configuration and what there is to know about it.
type Result struct {
	Config proxier.Config
	Notes  []Note
}

func newResult() *Result { return &Result{Config: proxier.Default()} }

func (r *Result) note(field, value, format string, args ...any) {
	r.Notes = append(r.Notes, Note{Field: field, Value: value, Text: fmt.Sprintf(format, args...)})
}

func (r *Result) lost(field, value, format string, args ...any) {
	r.Notes = append(r.Notes, Note{Field: field, Value: value, Text: fmt.Sprintf(format, args...), Lost: true})
}

// Lost reports whether something which decides about traffic is not carried over.
func (r *Result) Lost() bool {
	return slices.ContainsFunc(r.Notes, func(n Note) bool { return n.Lost })
}

// finish checks the result.
func (r *Result) finish() error {
	check := r.Config
	if check.NodeName == "" {
		check.NodeName = "any" // the program takes the host's name
	}
	if err := check.Validate(); err != nil {
		return fmt.Errorf("the result is not a valid configuration: %w", err)
	}
	slices.SortStableFunc(r.Notes, func(a, b Note) int { return strings.Compare(a.Field, b.Field) })
	return nil
}

func (r *Result) scheduler(field, name string) {
	if name == "" {
		return
	}
	if found, known := scheduler.Lookup(name); known {
		r.Config.Scheduler = found.Name
		return
	}
	r.lost(field, name, "this version has the schedulers %s; Services that choose none get %s, and those with session affinity %s", strings.Join(
		scheduler.Names(), ", ",
	), scheduler.Default, scheduler.ForAffinity[0])
}

// allowAllExternalIPs keeps what the other proxy does without being asked.
func (r *Result) allowAllExternalIPs(field string) {
	r.Config.ExternalIPCIDRs = []string{"0.0.0.0/0", "::/0"}
	r.note(field, "", "it serves every address in spec.externalIPs, so that whoever may write a Service can take over any address (CVE-2020-8554); "+
		"externalIPCIDRs allows the same here: limit it to the networks that you mean")
}

// bindAddress completes an address as the other proxy does: without a port it gets the usual one.
func bindAddress(text, port string) string {
	if _, err := netip.ParseAddrPort(text); err == nil || text == "" {
		return text
	}
	return net.JoinHostPort(strings.Trim(text, "[]"), port)
}

func seconds(d time.Duration) proxier.Duration { return proxier.Duration{Duration: d} }

func commaList(text string) []string {
	var parts []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}
