package proxier

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/edge"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/inputfile"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/observe"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/socket"
)

// StatusPath is where the socket serves Status as JSON, JournalPath where it serves Journal; ?service=NAMESPACE/NAME
// limits either. The metrics address has both for one more version.
const (
	StatusPath  = "/status"
	JournalPath = "/journal"
)

// FreezePath is where the socket, and nothing else, serves a freeze: by GET what is in force, by POST a new one or the
// end.
const FreezePath = "/freeze"

// MirrorPath is where the socket, and nothing else, serves what the daemon knows the kernel to hold.
const MirrorPath = "/mirror"

// httpServersOf returns what is served on the addresses of the configuration.
func httpServersOf(
	c Config, h *observe.Health, b *observe.Board, m *observe.Metrics, freezes, mirror http.Handler,
) []httpServer {
	health := http.NewServeMux()
	health.HandleFunc("/healthz", h.Healthz)
	health.HandleFunc("/livez", h.Livez)
	health.HandleFunc("/readyz", h.Readyz)
	operator := http.NewServeMux()
	// A compressor is 1 MiB of memory, for an answer that rarely leaves the node.
	metrics := promhttp.HandlerFor(m.Registry, promhttp.HandlerOpts{DisableCompression: true})
	operator.Handle("/metrics", metrics)
	operator.Handle(StatusPath, newTurns(b))
	operator.Handle(JournalPath, b.Journal)
	operator.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") })
	operator.HandleFunc("/proxyMode", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ipvs") })
	index(health, "/healthz", "/livez", "/readyz")
	index(operator, "/metrics", StatusPath, JournalPath, "/healthz", "/proxyMode")
	local := http.NewServeMux()
	local.Handle("/metrics", metrics)
	local.Handle(StatusPath, b)
	local.Handle(JournalPath, b.Journal)
	local.Handle(FreezePath, freezes)
	local.Handle(MirrorPath, mirror)
	for _, path := range []string{"/healthz", "/livez", "/readyz"} {
		local.Handle(path, health)
	}
	index(local, "/metrics", StatusPath, JournalPath, FreezePath, MirrorPath, "/healthz", "/livez", "/readyz")
	return []httpServer{
		{"healthzBindAddress", c.HealthzBindAddress, health, edge.Probes()},
		{"metricsBindAddress", c.MetricsBindAddress, operator, edge.Operator()},
		{"socket", c.Socket, local, edge.Operator()},
	}
}

// index has / list what there is.
func index(on *http.ServeMux, paths ...string) {
	on.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintf(w, "ipvs-proxier\n%s\n", strings.Join(paths, "\n"))
	})
}

// maxStatus is how much of an answer is read: some ten times what 10,000 Services with 5 endpoints each have to say.
const maxStatus = 512 << 20

// FetchStatus returns the status of the daemon that serves on address: the absolute path of a unix socket, or an
// address with a port such as 127.0.0.1:10249. service is NAMESPACE/NAME, or "" for all. Size and time of the answer
// are bounded, since another program may have bound the address.
func FetchStatus(ctx context.Context, address, service string) (Status, error) {
	ctx, cancel := context.WithTimeout(ctx, edge.Operator().Answer)
	defer cancel()
	return fetchStatus(ctx, address, service, maxStatus)
}

// FetchJournal returns the daemon's last changes, by the same rules as FetchStatus.
func FetchJournal(ctx context.Context, address, service string) (Journal, error) {
	ctx, cancel := context.WithTimeout(ctx, edge.Operator().Answer)
	defer cancel()
	var j Journal
	return j, fetch(ctx, address, JournalPath, service, "journal", maxStatus, &j)
}

// ReadKeptJournal returns what daemons have kept in a directory (--state-dir), of the Service alone unless that is "".
// It needs no daemon. What could be read comes with the error of what could not.
func ReadKeptJournal(dir, service string) (Journal, error) {
	j, err := observe.ReadKeptJournal(dir)
	return j.Only(service), err
}

func fetchStatus(ctx context.Context, address, service string, most int) (Status, error) {
	var s Status
	if err := fetch(ctx, address, StatusPath, service, "status", most, &s); err != nil {
		return Status{}, err
	}
	return s, nil
}

// fetch gets from the daemon what the command of that name shows.
func fetch(ctx context.Context, address, path, service, command string, most int, into any) error {
	client, host := clientOf(address)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+path+"?service="+service, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	response, err := client.Do(request)
	if err != nil {
		return unanswered(address, command, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s answers %s", command, address, Printable(response.Status))
	}
	if err := json.NewDecoder(inputfile.Bounded(response.Body, most)).Decode(into); err != nil {
		return fmt.Errorf("%s: what %s answers is not the %s of an ipvs-proxier: %w", command, address, command, err)
	}
	return nil
}

// clientOf returns a client for the address, and the host of the URL.
func clientOf(address string) (client *http.Client, host string) {
	if isSocket(address) {
		return socket.Client(address), "ipvs-proxier"
	}
	return http.DefaultClient, address
}

// isSocket reports whether address is the path of a unix socket; else it is an address with a port.
func isSocket(address string) bool { return strings.HasPrefix(address, "/") }

// unanswered is the error of a command that nobody answers.
func unanswered(address, command string, err error) error {
	if !isSocket(address) {
		return fmt.Errorf(
			"no ipvs-proxier answers on %s: %w (is it running on this node? its --metrics-bind-address goes to %s as --server)",
			address, err, command,
		)
	}
	if why := socket.Why(err); why != "" {
		err = errors.New(why)
	}
	return fmt.Errorf("no ipvs-proxier answers on %s: %w (is it running on this node, and you root there? its --socket goes to %s "+
		"as --socket; a daemon of an older version answers --server %s)", address, err, command, Default().MetricsBindAddress)
}
