package predecessor

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// NameWriter says, in a clause, which known proxy writes to this node's kernel, for a proxier that is at work: its own
// ports are not asked. link is the name of our dummy link. known is false where no process is seen, be it that there is
// none, be it that the pod does not see the node's (hostPID).
func NameWriter(ctx context.Context, d *Detector, link string) (name string, known bool) {
	signs, _ := d.processes(true)
	if sign, found := d.kubeRouterAnswers(ctx); found {
		signs[KubeRouter] = append(signs[KubeRouter], sign)
	}
	left, err := Find(ctx, link, Proxies()...)
	return writer(signs, left, err)
}

func writer(signs map[Proxy][]string, left []Leftovers, err error) (name string, known bool) {
	var running, traced []string
	for _, proxy := range Proxies() {
		if found := signs[proxy]; len(found) > 0 {
			running = append(running, fmt.Sprintf("%s runs on this node (%s)", proxy, strings.Join(found, ", ")))
		}
	}
	for _, l := range left {
		if !l.Empty() {
			traced = append(traced, fmt.Sprintf("the kernel has what %s writes: %s", l.Proxy, l.traces()))
		}
	}
	switch {
	case len(running) > 0:
		return strings.Join(append(running, traced...), "; "), true
	case len(traced) > 0:
		return "no known proxy is seen to run on this node, but " + strings.Join(traced, "; "), false
	case err != nil:
		return fmt.Sprintf("no known proxy is seen to run on this node, and its rules cannot be read: %v", err), false
	}
	return "no known proxy is seen to run on this node, and none has rules or sets here", false
}

// traces is String with the first chain and the first set by name.
func (l Leftovers) traces() string {
	text := l.String()
	var names []string
	for _, r := range l.removals {
		if len(r.chains) > 0 {
			names = append(names, "chain "+slices.Min(r.chains))
			break
		}
	}
	if len(l.Sets) > 0 {
		names = append(names, "set "+slices.Min(l.Sets))
	}
	if len(names) > 0 {
		text += " (such as " + strings.Join(names, ", ") + ")"
	}
	return text
}
