package engine

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/schedule"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/target"
)

// Mode is what a request does.
type Mode string

// The modes.
const (
	CRR   Mode = "crr"    // TCP: connect, request, reply, close
	UDPRR Mode = "udp-rr" // UDP: one datagram out, one back
)

// UDPPort is where the source port of a datagram comes from.
type UDPPort string

// The choices of UDPPort.
const (
	Rotate UDPPort = "rotate" // a new socket for each request, whose port the kernel picks
	Fixed  UDPPort = "fixed"  // one socket, thus one port, for each pair of target and source address
)

// Close is how a connection of mode crr ends.
type Close string

// The choices of Close.
const (
	FIN   Close = "fin"   // an ordinary close; the client's port stays in TIME_WAIT
	Reset Close = "reset" // RST by SO_LINGER 0; no TIME_WAIT, and IPVS forgets the connection sooner too
)

// Config is one run.
type Config struct {
	Mode           Mode
	Plan           schedule.Plan
	Targets        []target.Target // requests go to them in turn
	Sources        []netip.Addr    // taken in turn; empty leaves the choice to the kernel's routing
	Timeout        time.Duration   // of one request, from its actual start
	ConnectionsMax int             // requests that may be open at once, over all workers
	UDPPort        UDPPort
	Close          Close

	// Live, when set, receives what each worker did in the last second. A worker never waits for a slow reader: it
	// keeps what it could not hand over for the next time.
	Live chan<- Interval
}

// MaxTimeout is the longest timeout of a request.
const MaxTimeout = time.Hour

// spareFiles are the descriptors that are not connections: standard streams, the runtime's and the workers' epoll sets.
const spareFiles = 64

// DefaultWorkers is one worker for each 5,000 requests per second, as far as there are processors to run them. One
// worker can do several times that; more of them at a low rate would only share their wake-ups out.
func DefaultWorkers(rate float64, port UDPPort) int {
	if port == Fixed {
		return 1
	}
	return int(min(max(math.Ceil(rate/5000), 1), float64(runtime.GOMAXPROCS(0))))
}

// FileLimit is how many requests can be open at once in this process.
func FileLimit() (int, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("read the limit of open files: %w", err)
	}
	return int(min(limit.Cur, 1<<20)) - spareFiles, nil
}

// Validate says in one sentence what makes the run impossible, or returns nil.
func (c *Config) Validate() error {
	if err := c.Plan.Validate(); err != nil {
		return err
	}
	if err := c.validateTargets(); err != nil {
		return err
	}
	if c.Timeout <= 0 || c.Timeout > MaxTimeout {
		return fmt.Errorf("timeout %v is out of range; allowed is more than 0 and at most %v", c.Timeout, MaxTimeout)
	}
	limit, err := FileLimit()
	if err != nil {
		return err
	}
	if c.ConnectionsMax < c.Plan.Workers || c.ConnectionsMax > limit {
		return fmt.Errorf("connections-max %d is out of range; allowed is %d (the number of workers) to %d (the limit of open files less %d)",
			c.ConnectionsMax, c.Plan.Workers, limit, spareFiles)
	}
	if c.UDPPort != Rotate && c.UDPPort != Fixed {
		return fmt.Errorf("UDP port %q is not known; allowed are rotate and fixed", c.UDPPort)
	}
	if c.UDPPort == Fixed && c.Plan.Workers > 1 {
		return fmt.Errorf("a fixed UDP port allows 1 worker, %d are asked for: each would have a port of its own", c.Plan.Workers)
	}
	if c.Close != FIN && c.Close != Reset {
		return fmt.Errorf("close %q is not known; allowed are fin and reset", c.Close)
	}
	return c.validateSources()
}

func (c *Config) validateTargets() error {
	var want target.Protocol
	switch c.Mode {
	case CRR:
		want = target.TCP
	case UDPRR:
		want = target.UDP
	default:
		return fmt.Errorf("mode %q is not known; allowed are crr (TCP) and udp-rr (UDP)", c.Mode)
	}
	if len(c.Targets) == 0 {
		return errors.New("no target is given; write at least one, as tcp://ADDRESS:PORT or udp://ADDRESS:PORT")
	}
	for _, t := range c.Targets {
		if t.Protocol != want {
			return fmt.Errorf("target %s does not fit mode %s, which needs %s://", t, c.Mode, want)
		}
		if _, err := newSockaddr(t.Addr); err != nil {
			return fmt.Errorf("target %s: %w", t, err)
		}
	}
	return nil
}

// validateSources tries each address once, because a source that is not this machine's would fail every request.
func (c *Config) validateSources() error {
	for _, s := range c.Sources {
		fits := false
		for _, t := range c.Targets {
			fits = fits || s.Is4() == t.Addr.Addr().Is4()
		}
		if !fits {
			return fmt.Errorf("source %s fits no target: none is of its address family", s)
		}
		if err := tryBind(s); err != nil {
			return fmt.Errorf("source %s: %w; allowed are addresses of this machine", s, err)
		}
	}
	for _, t := range c.Targets {
		if len(c.Sources) > 0 && len(sourcesFor(t, c.Sources)) == 0 {
			return fmt.Errorf("target %s has no source of its address family; --source names only others", t)
		}
	}
	return nil
}

func sourcesFor(t target.Target, all []netip.Addr) []netip.Addr {
	var fit []netip.Addr
	for _, s := range all {
		if s.Is4() == t.Addr.Addr().Is4() {
			fit = append(fit, s)
		}
	}
	return fit
}
