package predecessor

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// The times of waiting for a predecessor's end.
const (
	checkEvery  = time.Second
	remindEvery = 30 * time.Second
)

// Admit returns when no other service proxy is alive. It waits until the one stops whose place is to be taken, and says
// once in a while how to bring that about. Any other proxy is an error at once. Until it returns nothing may be
// written. An empty takeOver waits for nobody. The error is ctx's when ctx ends first.
func Admit(ctx context.Context, takeOver Proxy, alive func(context.Context) []Living, log *slog.Logger) error {
	var logged time.Time
	ticker := time.NewTicker(checkEvery)
	defer ticker.Stop()
	for {
		living := alive(ctx)
		if i := slices.IndexFunc(living, func(l Living) bool { return l.Proxy != takeOver }); i >= 0 {
			return refusal(living[i], takeOver)
		}
		if len(living) == 0 {
			if !logged.IsZero() {
				log.Info("the predecessor has stopped", "proxy", string(takeOver))
			}
			return ctx.Err()
		}
		if now := time.Now(); now.Sub(logged) >= remindEvery {
			logged = now
			log.Info("waiting for the end of the predecessor; nothing is changed until then", "proxy", string(takeOver),
				"sign", living[0].Sign, "end", ending(takeOver))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// ending returns the command that ends the proxy in a usual cluster.
func ending(proxy Proxy) string {
	return "kubectl -n kube-system delete daemonset " + string(proxy)
}

func refusal(l Living, takeOver Proxy) error {
	instead := ""
	if takeOver != "" {
		instead = fmt.Sprintf(", whose place --take-over=%s does not take", takeOver)
	}
	return fmt.Errorf("%[1]s is alive on this node%[2]s (%[3]s): two service proxies undo each other's work, so nothing was changed. "+
		"To replace it, carry its configuration over (ipvs-proxier convert), start with --take-over=%[1]s, which waits for its end and then keeps all connections, and end it (%[4]s)",
		l.Proxy, instead, l.Sign, ending(l.Proxy))
}
