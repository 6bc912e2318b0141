package control

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// ManifestsWord stands for the directory of manifests in the command line of the proxy, FileWord for a file in Apply.
const (
	ManifestsWord = "{manifests}"
	FileWord      = "{file}"
)

// Config is one measurement.
type Config struct {
	Cluster
	Changes int           // exchanges of one endpoint, one after the other
	Pause   time.Duration // before each of them
	Idle    time.Duration // watched after the changes
	Restart bool          // ends the proxy and starts it again, with nothing to do
	// Iptables: the proxy is kube-proxy in its iptables mode, whose work is read by iptables-save.
	Iptables bool
	Timeout  time.Duration // for the first programming, and for each change

	// Where the proxy has its objects from. With Kubeconfig they are written to an API server. With Apply a command
	// takes a file of manifests. With neither it is a directory.
	Kubeconfig, Apply string
	Command           []string

	// What a complete dataplane has beside real servers: addresses that are local by a link, entries of sets, and
	// whatever a command, by sh, finds with status 0.
	VIPs    []Count
	Sets    []Count
	Settled string

	Ready      *Ready   // nil: the proxy does not report it
	Metrics    string   // URL of a page of metrics. Its Counters are reported of the idle time, too
	Histograms []string // names
	Counters   []string // as they are written there, with their labels
	Record     string   // file for the netlink buffers of the first programming that change something
	Log        io.Writer
}

// ErrNotConverged says that the kernel did not get what it should in time.
var ErrNotConverged = errors.New("the kernel did not get everything in time")

// MaxTimeout bounds every wait of a measurement.
const MaxTimeout = 24 * time.Hour

// Validate says in one sentence what makes the measurement impossible, or returns nil.
func (c *Config) Validate() error {
	if err := c.Cluster.Validate(); err != nil {
		return err
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"idle", c.Idle}, {"pause", c.Pause}} {
		if d.value < 0 || d.value > MaxTimeout {
			return fmt.Errorf("%s %v is out of range; allowed is 0 to %v", d.name, d.value, MaxTimeout)
		}
	}
	readsDirectory := slices.ContainsFunc(c.Command,
		func(word string) bool { return strings.Contains(word, ManifestsWord) })
	switch {
	case len(c.Command) == 0:
		return errors.New("no proxy is given; write its command line after --")
	case c.Changes < 0 || c.Changes > 100_000:
		return fmt.Errorf("changes %d are out of range; allowed is 0 to 100000", c.Changes)
	case c.Timeout <= 0 || c.Timeout > MaxTimeout:
		return fmt.Errorf("timeout %v is out of range; allowed is more than 0 and at most %v", c.Timeout, MaxTimeout)
	case c.Kubeconfig != "" && c.Apply != "":
		return errors.New("kubeconfig and apply are two ways for the same objects; give one")
	case c.Apply != "" && !strings.Contains(c.Apply, FileWord):
		return fmt.Errorf("apply %q has no %s in it, where the file's name goes", c.Apply, FileWord)
	case c.Apply == "" && c.Kubeconfig == "" && !readsDirectory:
		return fmt.Errorf("the command line has no %s in it, where the directory's name goes; a proxy that reads from an API server needs --kubeconfig or --apply", ManifestsWord)
	case c.Restart && c.Ready == nil:
		return errors.New("a restart changes nothing in the kernel: say also how the proxy reports that it is ready")
	case (c.Metrics == "") != (len(c.Histograms)+len(c.Counters) == 0):
		return errors.New("metrics and histogram, or counter, go together: the page and what to read there")
	}
	return nil
}
