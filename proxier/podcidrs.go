package proxier

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/source"
)

// podCIDRsPatience is how long a start waits for the Node's podCIDRs, which kube-controller-manager gives it; as
// kube-proxy does.
const podCIDRsPatience = 5 * time.Minute

// awaitPodCIDRs returns the Node's podCIDRs, by which this node's pods are recognized in the mode NodeCIDR.
func awaitPodCIDRs(ctx context.Context, w *source.Watcher, nodeName string, log *slog.Logger) ([]netip.Prefix, error) {
	late := time.After(podCIDRsPatience)
	for logged := false; ; {
		cidrs, err := podCIDRs(w.Node())
		if err == nil {
			return cidrs, nil
		}
		if !logged {
			logged = true
			log.Info("waiting for the Node's podCIDRs, which detectLocalMode NodeCIDR needs", "node", nodeName, "reason",
				err.Error())
		}
		select {
		case <-w.Changed():
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-late:
			return nil, fmt.Errorf("node %s: %w after %s; give it podCIDRs, or choose another --detect-local-mode",
				nodeName, err, podCIDRsPatience)
		}
	}
}

func podCIDRs(node *v1.Node) ([]netip.Prefix, error) {
	if node == nil {
		return nil, errors.New("there is no such Node")
	}
	if len(node.Spec.PodCIDRs) == 0 {
		return nil, errors.New("spec.podCIDRs is empty")
	}
	cidrs, err := parseCIDRs(node.Spec.PodCIDRs)
	if err != nil {
		return nil, fmt.Errorf("spec.podCIDRs: %w", err)
	}
	return cidrs, nil
}

// podCIDRsChanged returns an error when the Node has other podCIDRs than those in force: the rules are made once, at
// start. A Node that is gone, or has none, changes nothing.
func podCIDRsChanged(node *v1.Node, inForce []netip.Prefix) error {
	if now, err := podCIDRs(node); err == nil && !slices.Equal(now, inForce) {
		return fmt.Errorf("the Node's podCIDRs are %v now, in force are %v: ending, to be started anew", now, inForce)
	}
	return nil
}
