package harness

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/topology"
)

// Proxier is a running ipvs-proxier on a node.
type Proxier struct {
	*Process
	host     *topology.Host
	programs Programs
	// socket is where commands ask it; "" is on its metrics address, because the socket is in another file system.
	socket string
}

// socketOf returns the --socket of the proxier of a node. All nodes have one file system. node1 has the default, so
// that commands find it there by themselves.
func socketOf(node *topology.Host) string {
	if node.Name == "node1" {
		return "/run/ipvs-proxier/ipvs-proxier.sock"
	}
	return "/run/ipvs-proxier-" + node.Name + "/ipvs-proxier.sock"
}

// Capabilities are all that the DaemonSet's container has (deploy/ipvs-proxier.yaml).
var Capabilities = []string{"CAP_NET_ADMIN", "CAP_NET_RAW"}

// StartProxier starts ipvs-proxier run on the node, confined as its container is: with Capabilities and no others, no
// new privileges, and the seccomp profile that Kubernetes calls RuntimeDefault. AwaitReady says when it has done its
// first work.
func (p Programs) StartProxier(node *topology.Host, args ...string) (*Proxier, error) {
	args = append([]string{"--socket", socketOf(node), "--state-dir", ""}, args...)
	proxier, err := p.StartProxierOf(p.Path("ipvs-proxier"), node, args...)
	if err == nil {
		proxier.socket = socketOf(node)
	}
	return proxier, err
}

// StartProxierOf is StartProxier for a program of another version, which may know no socket.
func (p Programs) StartProxierOf(program string, node *topology.Host, args ...string) (*Proxier, error) {
	process, err := Start(node, p.Path("confined"), append([]string{"-capabilities", strings.Join(Capabilities, ","),
		program, "run", "--node-name", node.Name, "--cluster-cidr", topology.PodCIDRs}, args...)...)
	if err != nil {
		return nil, err
	}
	return &Proxier{Process: process, host: node, programs: p}, nil
}

// Adopt starts a program on the node that runs ipvs-proxier there, such as a container engine, and returns it as
// StartProxier does.
func (p Programs) Adopt(node *topology.Host, program string, args ...string) (*Proxier, error) {
	process, err := Start(node, program, args...)
	if err != nil {
		return nil, err
	}
	return &Proxier{Process: process, host: node, programs: p}, nil
}

// SeccompProfile returns the profile of a container with these capabilities, as JSON.
func SeccompProfile(p Programs, capabilities []string) ([]byte, error) {
	return exec.Command(p.Path("confined"), "-capabilities", strings.Join(capabilities, ","), "-print").Output()
}

// AwaitReady waits until the kernel is in line with what is wanted. (/healthz does not show that: it is 200 at a start,
// because the dataplane of the process before still serves.)
func (p *Proxier) AwaitReady() error {
	return Await(60*time.Second, func() error {
		if p.Ended() {
			return Hopeless{fmt.Errorf("ipvs-proxier has ended: %w\n%s", p.err, p.Output())}
		}
		status, body, err := p.Ask("/status?service=none/none")
		if err != nil {
			return err
		}
		var s Status
		if err := json.Unmarshal([]byte(body), &s); err != nil || !s.Healthy {
			return fmt.Errorf("/status: %d: %w: %s", status, err, body)
		}
		return nil
	})
}

// Stop ends it with SIGTERM, which leaves the dataplane in place.
func (p *Proxier) Stop() error { return p.Signal(syscall.SIGTERM) }

// Ask fetches a page where the commands ask the daemon.
func (p *Proxier) Ask(path string) (int, string, error) {
	if p.socket == "" {
		return p.Get("http://127.0.0.1:10249" + path)
	}
	return fetch("http://ipvs-proxier"+path, func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: Patiently(5 * time.Second)}).DialContext(ctx, "unix", p.socket)
	})
}

// Get fetches a page from the node.
func (p *Proxier) Get(url string) (int, string, error) { return Get(p.host, url) }

// Get fetches a page from the host.
func Get(h *topology.Host, url string) (int, string, error) {
	return fetch(url, func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		err = h.Do(func() error {
			conn, err = (&net.Dialer{Timeout: Patiently(5 * time.Second)}).DialContext(ctx, network, address)
			return err
		})
		return conn, err
	})
}

func fetch(
	url string, dial func(ctx context.Context, network, address string) (net.Conn, error),
) (status int, body string, err error) {
	transport := &http.Transport{DisableKeepAlives: true, DialContext: dial}
	client := &http.Client{Timeout: Patiently(20 * time.Second), Transport: transport}
	response, err := client.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

// Status is what /status says, as far as it is used here.
type Status struct {
	Healthy   bool     `json:"healthy"`
	Wrong     bool     `json:"wrong"`
	Verdict   string   `json:"verdict"`
	Errors    []string `json:"errors"`
	Manifests []string `json:"manifests"`
	Foreign   int      `json:"foreignVirtualServers"`
	Draining  int      `json:"drainingRealServers"`
	// Schedulers are those of the kernel.
	Schedulers []string `json:"schedulers"`
	// Connections is the table of IPVS's connections.
	Connections struct {
		Connections    int    `json:"connections"`
		Counted        string `json:"counted"`
		MaxConnections int    `json:"maxConnections"`
		Buckets        int    `json:"buckets"`
		MaxBuckets     int    `json:"maxBuckets"`
	} `json:"connections"`
	NodeProblems []struct {
		Reason, Field, Message string
	} `json:"nodeProblems"`
	Services []struct {
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
		FrontEnds []struct {
			Kind       string `json:"kind"`
			Protocol   string `json:"protocol"`
			Address    string `json:"address"`
			Scheduler  string `json:"scheduler"`
			Source     string `json:"schedulerSource"`
			Digest     string `json:"digest"`
			Programmed bool   `json:"programmed"`
		} `json:"frontEnds"`
		Problems []struct {
			Reason, Field, Message string
		} `json:"problems"`
	} `json:"services"`
}

// Status runs ipvs-proxier status -o json. What is wrong ends it with 1, and is no error here.
func (p *Proxier) Status() (*Status, error) {
	text, failed := p.StatusText("-o", "json")
	s := &Status{}
	if err := json.NewDecoder(strings.NewReader(text)).Decode(s); err != nil {
		return nil, cmp.Or(failed, err)
	}
	return s, nil
}

// StatusText runs ipvs-proxier status.
func (p *Proxier) StatusText(args ...string) (string, error) {
	at := []string{"status", "--socket", p.socket}
	if p.socket == "" {
		at = []string{"status", "--server", "127.0.0.1:10249"}
	}
	return p.host.Run(p.programs.Path("ipvs-proxier"), append(at, args...)...)
}

// Cleanup runs ipvs-proxier cleanup on the node and returns what it printed.
func (p Programs) Cleanup(node *topology.Host, args ...string) (string, error) {
	return node.Run(p.Path("ipvs-proxier"), append([]string{"cleanup"}, args...)...)
}

// Metric sums the values of a metric over all its labels.
func (p *Proxier) Metric(name string) (float64, error) {
	status, body, err := p.Get("http://127.0.0.1:10249/metrics")
	if err != nil || status != http.StatusOK {
		return 0, fmt.Errorf("/metrics: %d: %w", status, err)
	}
	sum := 0.0
	for _, found := range regexp.MustCompile(`(?m)^`+name+`(?:\{[^}]*\})? (\S+)$`).FindAllStringSubmatch(body, -1) {
		v, err := strconv.ParseFloat(found[1], 64)
		if err != nil {
			return 0, err
		}
		sum += v
	}
	return sum, nil
}

// Dump describes the node's dataplane, for the log of a test that has failed.
func Dump(h *topology.Host) string {
	var b strings.Builder
	for _, c := range [][]string{
		{"ipvsadm", "-Ln"}, {"ipvsadm", "-Lnc"}, {"ip", "-br", "addr"}, {"ip", "route", "show", "table", "local", "proto", "73"}, {"ip", "-6", "route", "show", "table", "local", "proto", "73"}, {"ipset", "save"}, {"iptables-save", "-c"}, {"ip6tables-save", "-c"},
	} {
		cmd := exec.Command(c[0], c[1:]...)
		fmt.Fprintf(&b, "$ %s\n", strings.Join(c, " "))
		_ = h.Do(func() error {
			output, err := cmd.CombinedOutput()
			if len(output) > 8000 {
				output = append(output[:8000], "\n…"...)
			}
			b.Write(output)
			return err
		})
	}
	return b.String()
}
