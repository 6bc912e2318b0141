package nodecheck

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// mostAhead is how far clocks may differ: an answer's Date has whole seconds, and is under way for a while.
const mostAhead = 10 * time.Second

var apiChecks = []Check{{
	Code: "IPX-251", Name: "SourceMissing",
	Looks:       "whether there is a source of Services: a kubeconfig, a pod's ServiceAccount, or a directory of manifests",
	Consequence: "the program ends: it has nothing to program",
	Fix:         "give --kubeconfig or --manifests, or run it in a pod with a ServiceAccount",
	evaluate: func(f Facts, w Wanted) []result {
		switch {
		case f.Source != "":
			return fails(f.Source)
		case w.Manifests:
			return ok("Services come from --manifests")
		}
		return ok(fmt.Sprintf("Services come from %s", count(len(f.Servers), "API server")))
	},
}, {
	Code: "IPX-252", Name: "APIServerSilent",
	Looks:       "whether each API server answers",
	Consequence: "without any API server the node keeps what it has and learns of no change; one of several that is missing is missing when the others fail",
	Fix:         "look at the address (apiServers, or server of the kubeconfig), the route to it, and its certificate: curl -vk URL/readyz",
	evaluate: func(f Facts, _ Wanted) (results []result) {
		severity := Fails
		if slices.ContainsFunc(f.Servers, func(s Server) bool { return s.Err == "" }) {
			severity = Warns
		}
		for _, s := range f.Servers {
			switch {
			case s.Err != "":
				results = append(results, result{severity: severity, found: s.URL + ": " + s.Err, fix: "curl -vk " + s.URL +
					"/readyz; the address is that of apiServers, or of server in the kubeconfig"})
			default:
				results = append(results, result{severity: OK, found: s.URL + " answers"})
			}
		}
		return results
	},
}, {
	Code: "IPX-253", Name: "Unauthorized",
	Looks:       "whether the API servers accept our token or certificate",
	Consequence: "nothing is learned of Services",
	Fix:         "make the kubeconfig anew, or look at the pod's ServiceAccount and at the servers' authorities: kubectl auth whoami",
	evaluate: func(f Facts, _ Wanted) (results []result) {
		for _, s := range f.Servers {
			if s.Status == 401 {
				results = append(results, fails(s.URL+" says Unauthorized")...)
			}
		}
		if len(results) == 0 && slices.ContainsFunc(f.Servers, Server.Answers) {
			return ok("the API servers know us")
		}
		return results
	},
}, {
	Code: "IPX-254", Name: "Forbidden",
	Looks:       "whether the API allows what the ClusterRole of deploy/ipvs-proxier.yaml gives, verb by verb",
	Consequence: "nothing is learned of what may not be listed or watched",
	Fix:         "kubectl apply -f deploy/ipvs-proxier.yaml, whose ClusterRole has it; look: kubectl auth can-i VERB RESOURCE --as=system:serviceaccount:NAMESPACE:NAME",
	evaluate:    evaluateAccess,
}, {
	Code: "IPX-255", Name: "APIServerIsService",
	Looks:       "whether the API servers are reached by an address that is no Service's",
	Consequence: "after the node has started, nobody serves that address until this program has reached the API by it: it waits for itself",
	Fix:         "write the servers' own addresses, or those of a load balancer outside of the cluster, in apiServers",
	evaluate: func(f Facts, _ Wanted) (results []result) {
		for _, s := range f.Servers {
			if u, err := url.Parse(s.URL); err == nil && isService(u.Hostname(), f.KubernetesIPs) {
				results = append(results, fails(s.URL+" is the Service default/kubernetes")...)
			}
		}
		if len(results) == 0 && len(f.KubernetesIPs) > 0 {
			return ok("the API is reached without a Service")
		}
		return results
	},
}, {
	Code: "IPX-256", Name: "NodeMissing",
	Looks:       "whether the API has a Node of this node's name",
	Consequence: "no endpoint counts as this node's, and /healthz is 503: Services with the policy Local get nothing here",
	Fix:         "start with --node-name=NAME, by one of: kubectl get nodes",
	evaluate: func(f Facts, w Wanted) []result {
		switch {
		case w.Manifests || len(f.Servers) == 0:
			return nil
		case !f.Node.Known():
			return unknown("Node " + w.NodeName + ": " + f.Node.Why)
		case !f.Node.Value:
			return fails("the API has no Node " + w.NodeName)
		}
		return ok("the API has the Node " + w.NodeName)
	},
}, {
	Code: "IPX-257", Name: "ClockOff",
	Looks:       "whether this node's clock and the API servers' go together, to 10 seconds",
	Consequence: "certificates and tokens count as expired or as not valid yet; latencies and the age of the view are wrong",
	Fix:         "timedatectl set-ntp true, on whichever is wrong",
	evaluate: func(f Facts, _ Wanted) (results []result) {
		for _, s := range f.Servers {
			if s.Err == "" && s.Ahead.Known() && s.Ahead.Value.Abs() > mostAhead {
				results = append(results, warns(fmt.Sprintf("the clock of %s differs by %s from this node's",
					s.URL, s.Ahead.Value.Abs().Round(time.Second)))...)
			}
		}
		if len(results) == 0 &&
			slices.ContainsFunc(f.Servers, func(s Server) bool { return s.Err == "" && s.Ahead.Known() }) {
			return ok("the clocks go together")
		}
		return results
	},
}}

func evaluateAccess(f Facts, _ Wanted) []result {
	if !slices.ContainsFunc(f.Servers, Server.Answers) {
		return nil // said by others
	}
	var needed, useful, doubtful []string
	why := "no request was sent"
	for _, p := range Permissions {
		allowed, asked := f.Access[p]
		switch {
		case !asked || !allowed.Known():
			doubtful = append(doubtful, p.String())
			if asked {
				why = allowed.Why
			}
		case allowed.Value:
		case p.Resource == "services" || p.Resource == "endpointslices":
			needed = append(needed, p.String())
		default:
			useful = append(useful, p.String())
		}
	}
	switch {
	case len(needed) > 0:
		return fails("the API forbids: " + strings.Join(append(needed, useful...), ", "))
	case len(useful) > 0:
		return []result{{
			severity: Warns, found: "the API forbids: " + strings.Join(useful, ", "),
			consequence: "Services are served; without Nodes this node's zone, weights and drains are not known, without Events nobody hears of Problems by kubectl",
		}}
	case len(doubtful) > 0:
		return unknown("whether the API allows " + strings.Join(doubtful, ", ") + ": " + why)
	}
	return ok("the API allows all that is needed")
}

// isService reports whether the host is the Service by which pods reach the API.
func isService(host string, addresses []netip.Addr) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return slices.Contains(addresses, addr.Unmap())
	}
	name, _, _ := strings.Cut(host+".", ".svc.")
	return name == "kubernetes.default"
}
