package predecessor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Living is a service proxy that runs in this network namespace.
type Living struct {
	Proxy Proxy
	// Sign says how it was found.
	Sign string
	// Mode is kube-proxy's, such as "ipvs"; empty where it does not answer.
	Mode string
}

// Detector looks for living service proxies. It needs no privileges, and changes nothing.
type Detector struct {
	proc                                 string
	proxyMode, proxyHealth, routerHealth string // URLs
	client                               *http.Client
}

// NewDetector looks at the ports that the proxies have by default, and at the processes that /proc shows: in a pod
// these are all of the node only with hostPID.
func NewDetector() *Detector {
	return &Detector{
		proc:         "/proc",
		proxyMode:    "http://127.0.0.1:10249/proxyMode",
		proxyHealth:  "http://127.0.0.1:10256/healthz",
		routerHealth: "http://127.0.0.1:20244/healthz",
		client: &http.Client{
			Timeout:   time.Second,
			Transport: &http.Transport{DisableKeepAlives: true}, // no proxy of the environment's
		},
	}
}

// Alive returns the proxies that are alive, each once.
func (d *Detector) Alive(ctx context.Context) []Living {
	signs, routerProxies := d.processes(false)
	sign, mode, found := d.kubeProxyAnswers(ctx)
	if found {
		signs[KubeProxy] = append(signs[KubeProxy], sign)
	}
	if sign, found := d.kubeRouterAnswers(ctx); found && routerProxies {
		signs[KubeRouter] = append(signs[KubeRouter], sign)
	}
	var alive []Living
	for _, proxy := range Proxies() {
		if found := signs[proxy]; len(found) > 0 {
			l := Living{Proxy: proxy, Sign: strings.Join(found, ", ")}
			if proxy == KubeProxy {
				l.Mode = mode
			}
			alive = append(alive, l)
		}
	}
	return alive
}

// kubeProxyAnswers asks kube-proxy for its mode, or, when its metrics are elsewhere, for its health, which is not
// shaped like anybody else's.
func (d *Detector) kubeProxyAnswers(ctx context.Context) (sign, mode string, found bool) {
	if status, body, err := d.get(ctx, d.proxyMode); err == nil && status == http.StatusOK {
		if mode := strings.TrimSpace(string(body)); slices.Contains([]string{"ipvs", "iptables", "nftables"}, mode) {
			return fmt.Sprintf("in mode %s it answers on %s", mode, d.proxyMode), mode, true
		}
	}
	_, body, err := d.get(ctx, d.proxyHealth) // 503 on a node that is about to go
	var health struct {
		LastUpdated  *string `json:"lastUpdated"`
		NodeEligible *bool   `json:"nodeEligible"`
	}
	if err == nil && json.Unmarshal(body, &health) == nil && health.LastUpdated != nil && health.NodeEligible != nil {
		return "it answers on " + d.proxyHealth, "", true
	}
	return "", "", false
}

// kubeRouterAnswers asks for kube-router's health: "OK" or "Unhealthy" (pkg/healthcheck).
func (d *Detector) kubeRouterAnswers(ctx context.Context) (sign string, found bool) {
	_, body, err := d.get(ctx, d.routerHealth)
	if text := strings.TrimSpace(string(body)); err == nil && (text == "OK" || text == "Unhealthy") {
		return "it answers on " + d.routerHealth, true
	}
	return "", false
}

func (d *Detector) get(ctx context.Context, url string) (int, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	response, err := d.client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	return response.StatusCode, body, err
}

// processes looks for processes by name in our network namespace. routerProxies is false when kube-router is seen to
// run without its service proxy, as a router or firewall: then it is none of our concern. unseen has those count whose
// namespace may not be read: the kernel shows it only to who has all capabilities of the other one (ptrace_may_access).
func (d *Detector) processes(unseen bool) (signs map[Proxy][]string, routerProxies bool) {
	signs, routerProxies = map[Proxy][]string{}, true
	ours, err := os.Readlink(filepath.Join(d.proc, "self/ns/net"))
	if err != nil {
		return signs, routerProxies
	}
	entries, err := os.ReadDir(d.proc)
	if err != nil {
		return signs, routerProxies
	}
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		dir := filepath.Join(d.proc, e.Name())
		comm, err := os.ReadFile(filepath.Join(dir, "comm"))
		name := Proxy(strings.TrimSpace(string(comm)))
		if err != nil || !slices.Contains(Proxies(), name) {
			continue
		}
		namespace, err := os.Readlink(filepath.Join(dir, "ns/net"))
		if err != nil && !(unseen && errors.Is(err, os.ErrPermission)) || err == nil && namespace != ours {
			continue
		}
		if name == KubeRouter && withoutServiceProxy(dir) {
			routerProxies = false
			continue
		}
		signs[name] = append(signs[name], "process "+e.Name())
	}
	return signs, routerProxies || len(signs[KubeRouter]) > 0
}

// withoutServiceProxy reports whether kube-router's command line switches its service proxy off.
func withoutServiceProxy(dir string) bool {
	line, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	return err == nil && slices.ContainsFunc(bytes.Split(line, []byte{0}), func(word []byte) bool {
		name, value, _ := strings.Cut(strings.TrimLeft(string(word), "-"), "=")
		on, err := strconv.ParseBool(value)
		return name == "run-service-proxy" && err == nil && !on
	})
}
