package engine

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/account"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/schedule"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/target"
)

// Mode is what a request does.
type Mode string

// The modes. All but UDPRR are for TCP and SCTP.
const (
	Connect Mode = "connect" // connect and close: from the SYN to the SYN-ACK, nothing is sent
	CRR     Mode = "crr"     // connect, request, reply, close
	RR      Mode = "rr"      // request and reply on connections that stay
	Idle    Mode = "idle"    // rr on many connections, each of which speaks once in a while
	Stream  Mode = "stream"  // connections that carry as much as they can, one way; as closed a loop as there is
	UDPRR   Mode = "udp-rr"  // UDP: one datagram out, one back
)

// Direction is the way of the bytes of mode stream.
type Direction string

// The directions, as the client sees them.
const (
	Upload   Direction = "upload"
	Download Direction = "download"
)

// Modes lists them all.
func Modes() []Mode { return []Mode{Connect, CRR, RR, Idle, Stream, UDPRR} }

// persistent says whether connections are held instead of made for each request.
func (m Mode) persistent() bool { return m == RR || m == Idle || m == Stream }

// UDPPort is where the source port of a datagram comes from.
type UDPPort string

// The choices of UDPPort.
const (
	Rotate UDPPort = "rotate" // a new socket for each request; ports take turns
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
	ConnectionsMax int             // requests that may be open at once, over all workers; of a closed loop: that are
	Connections    int             // of rr, idle and stream: connections held, over all workers; of the other modes 0
	Direction      Direction       // of stream; of the other modes empty
	UDPPort        UDPPort
	Close          Close

	// Enough ends the window at the moment when it is closed. Nothing becomes due any more, and the run ends when all
	// that was due has its outcome, as if it had been planned so. Mode stream does not look at it.
	Enough <-chan struct{}

	// Watch names the endpoints of which Result says when they answered, beside how often.
	Watch []string

	// Ready, when set, is called when the connections of rr and idle stand, with the moment at which the window begins.
	Ready func(window time.Time)

	// Trace, when set, receives every outcome, that of the warm-up too, from the worker's own goroutine: it must not
	// block, and the outcome's slices live only as long as the call.
	Trace func(worker int, o *account.Outcome)

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
	if err := c.validateConnections(limit); err != nil {
		return err
	}
	if c.UDPPort != Rotate && c.UDPPort != Fixed {
		return fmt.Errorf("UDP port %q is not known; allowed are rotate and fixed", c.UDPPort)
	}
	if (c.Mode == Stream) != (c.Direction != "") || c.Direction != "" && c.Direction != Upload && c.Direction != Download {
		return fmt.Errorf("direction %q does not fit mode %s; mode stream needs upload or download, the others none", c.Direction, c.Mode)
	}
	if c.Mode == Stream && !c.Plan.Closed {
		return errors.New("mode stream has no rate: it carries as much as it can")
	}
	if c.UDPPort == Fixed && c.Plan.Workers > 1 {
		return fmt.Errorf("a fixed UDP port allows 1 worker, %d are asked for: each would have a port of its own", c.Plan.Workers)
	}
	if c.Close != FIN && c.Close != Reset {
		return fmt.Errorf("close %q is not known; allowed are fin and reset", c.Close)
	}
	return c.validateSources()
}

// validateConnections looks at the connections that stay.
func (c *Config) validateConnections(limit int) error {
	if !c.Mode.persistent() {
		if c.Connections != 0 {
			return fmt.Errorf("connections %d are for modes rr, idle and stream; mode %s makes one for each request",
				c.Connections, c.Mode)
		}
		return nil
	}
	if c.Connections < c.Plan.Workers || c.Connections > limit {
		return fmt.Errorf("connections %d are out of range; allowed is %d (the number of workers) to %d (the limit of open files less %d)",
			c.Connections, c.Plan.Workers, limit, spareFiles)
	}
	return nil
}

func (c *Config) validateTargets() error {
	if !slices.Contains(Modes(), c.Mode) {
		return fmt.Errorf("mode %q is not known; allowed are connect, crr, rr, idle and stream (TCP, SCTP) and udp-rr (UDP)", c.Mode)
	}
	if len(c.Targets) == 0 {
		return errors.New("no target is given; write at least one, as tcp://ADDRESS:PORT, udp://ADDRESS:PORT or sctp://ADDRESS:PORT")
	}
	for _, t := range c.Targets {
		if (t.Protocol == target.UDP) != (c.Mode == UDPRR) {
			want := "tcp:// or sctp"
			if c.Mode == UDPRR {
				want = "udp"
			}
			return fmt.Errorf("target %s does not fit mode %s, which needs %s://", t, c.Mode, want)
		}
		if err := tryProtocol(t.Protocol); err != nil {
			return fmt.Errorf("target %s: %w", t, err)
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
