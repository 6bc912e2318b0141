package proxier

import (
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/observe"
)

// prepare sets what is set once, at start, and says in the log what it changed. What is kept in force all the time is
// in dataplane.Foundation.
func prepare(c Config, d dataplane.Config, linux *kernel.Linux, log *slog.Logger) error {
	changed, left, err := c.Conntrack.limits().Apply()
	observe.LogSysctls(log, changed)
	for _, reason := range left {
		log.Warn("limit of connection tracking", "reason", reason)
	}
	if err != nil {
		return fmt.Errorf("connection tracking: %w", err)
	}
	if d.Serves(cluster.IPv6) {
		changed, err := kernel.KeepRouterAdvertisements()
		observe.LogSysctls(log, changed)
		if err != nil {
			return err
		}
	}
	text, err := idleUDP(d, linux.Sysctl)
	if text != "" {
		log.Info("idle UDP flows", "timeouts", text)
	}
	return err
}

func (c Conntrack) limits() kernel.ConntrackLimits {
	return kernel.ConntrackLimits{
		MaxPerCore: c.MaxPerCore, Min: c.Min, TCPBeLiberal: c.TCPBeLiberal,
		TCPEstablishedTimeout: c.TCPEstablishedTimeout.Duration, TCPCloseWaitTimeout: c.TCPCloseWaitTimeout.Duration,
		UDPTimeout: c.UDPTimeout.Duration, UDPStreamTimeout: c.UDPStreamTimeout.Duration,
	}
}

// idleUDP says what idle UDP flows may count on where IPVS and connection tracking do not agree; "" where they do.
// IPVS's timeout decides how long a flow stays with its real server, and takes the conntrack entry along when it is
// over. Where connection tracking is faster, a later answer to a masqueraded client does not find back
// (kubernetes#120076).
func idleUDP(d dataplane.Config, sysctl func(name string) (string, error)) (string, error) {
	seconds := func(name string) (time.Duration, error) {
		value, err := sysctl(name)
		if err != nil {
			return 0, err
		}
		n, err := strconv.Atoi(value)
		if err != nil {
			return 0, fmt.Errorf("sysctl %s: %q is not a number of seconds", name, value)
		}
		return time.Duration(n) * time.Second, nil
	}
	ipvs := d.UDPTimeout
	if ipvs == 0 {
		var err error
		if ipvs, err = seconds(dataplane.SysctlUDPTimeout); err != nil {
			return "", err
		}
	}
	unreplied, err := seconds("net.netfilter.nf_conntrack_udp_timeout")
	if err != nil {
		return "", err
	}
	stream, err := seconds("net.netfilter.nf_conntrack_udp_timeout_stream")
	if err != nil || unreplied == ipvs && stream == ipvs {
		return "", err
	}
	return fmt.Sprintf("a flow keeps its endpoint for %s (IPVS, --ipvs-udp-timeout); an answer to a masqueraded client finds back for "+
		"%s while there was none yet, %s after (the shorter of that and --conntrack-udp-timeout, --conntrack-udp-timeout-stream)",
		ipvs, min(ipvs, unreplied), min(ipvs, stream)), nil
}
