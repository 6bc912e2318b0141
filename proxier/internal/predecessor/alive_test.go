package predecessor

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// node is what a Detector looks at: answers by path, and processes by PID.
type node struct {
	answers   map[string]string
	processes map[string]process
}

type process struct{ comm, namespace, cmdline string }

func (n node) detector(t *testing.T) *Detector {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, found := n.answers[r.URL.Path]
		if !found {
			http.NotFound(w, r)
			return
		}
		w.Write([]byte(answer))
	}))
	t.Cleanup(server.Close)
	d := NewDetector()
	d.proc = t.TempDir()
	d.proxyMode, d.proxyHealth, d.routerHealth = server.URL+"/proxyMode", server.URL+"/proxy", server.URL+"/router"
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	for pid, p := range n.processes {
		dir := filepath.Join(d.proc, pid)
		must(os.MkdirAll(filepath.Join(dir, "ns"), 0o755))
		must(os.Symlink(p.namespace, filepath.Join(dir, "ns/net")))
		must(os.WriteFile(filepath.Join(dir, "comm"), []byte(p.comm+"\n"), 0o644))
		must(os.WriteFile(filepath.Join(dir, "cmdline"), []byte(strings.ReplaceAll(p.cmdline, " ", "\x00")), 0o644))
	}
	return d
}

func TestAlive(t *testing.T) {
	self := process{"ipvs-proxier", "net:[1]", "ipvs-proxier run"}
	for name, c := range map[string]struct {
		node node
		want []Proxy
	}{
		"nobody":                              {node{}, nil},
		"kube-proxy by its mode":              {node{answers: map[string]string{"/proxyMode": "iptables"}}, []Proxy{KubeProxy}},
		"something else on kube-proxy's port": {node{answers: map[string]string{"/proxyMode": "<html>hello</html>"}}, nil},
		"kube-proxy by its health":            {node{answers: map[string]string{"/proxy": `{"lastUpdated":"x","currentTime":"y","nodeEligible":true,"healthy":true}`}}, []Proxy{KubeProxy}},
		"another program's health":            {node{answers: map[string]string{"/proxy": `{"lastUpdated":"x","currentTime":"y"}`}}, nil},
		"kube-router, healthy":                {node{answers: map[string]string{"/router": "OK\n"}}, []Proxy{KubeRouter}},
		"kube-router, unhealthy":              {node{answers: map[string]string{"/router": "Unhealthy"}}, []Proxy{KubeRouter}},
		"a process of this namespace":         {node{processes: map[string]process{"self": self, "7": {"kube-proxy", "net:[1]", "kube-proxy"}}}, []Proxy{KubeProxy}},
		"a process of another namespace":      {node{processes: map[string]process{"self": self, "7": {"kube-proxy", "net:[2]", "kube-proxy"}}}, nil},
		"kube-router as a process, and by port": {node{
			answers:   map[string]string{"/router": "OK\n"},
			processes: map[string]process{"self": self, "8": {"kube-router", "net:[1]", "kube-router --run-service-proxy=true"}},
		}, []Proxy{KubeRouter}},
		"kube-router as router and firewall only": {node{
			answers: map[string]string{"/router": "OK\n"},
			processes: map[string]process{
				"self": self, "8": {"kube-router", "net:[1]", "kube-router --run-router --run-service-proxy=false"},
			},
		}, nil},
		"both": {node{answers: map[string]string{"/proxyMode": "ipvs", "/router": "OK\n"}}, []Proxy{KubeProxy, KubeRouter}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []Proxy
			for _, l := range c.node.detector(t).Alive(t.Context()) {
				got = append(got, l.Proxy)
				if l.Sign == "" {
					t.Errorf("%s has no sign", l.Proxy)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestAdmit: an error says which proxy was found, by what sign, and what to do. The proxy whose place is taken is
// waited for.
func TestAdmit(t *testing.T) {
	kubeProxy, kubeRouter := Living{Proxy: KubeProxy, Sign: "sign P"}, Living{Proxy: KubeRouter, Sign: "sign R"}
	for name, c := range map[string]struct {
		takeOver Proxy
		alive    [][]Living // at each look
		looks    int
		err, log []string
	}{
		"nobody":                    {"", [][]Living{nil}, 1, nil, nil},
		"kube-proxy":                {"", [][]Living{{kubeProxy}}, 1, []string{"kube-proxy is alive", "sign P", "--take-over=kube-proxy", "kubectl -n kube-system delete daemonset kube-proxy", "convert"}, nil},
		"the other one":             {KubeProxy, [][]Living{{kubeRouter}}, 1, []string{"kube-router is alive", "--take-over=kube-proxy does not take", "--take-over=kube-router"}, nil},
		"the predecessor is gone":   {KubeProxy, [][]Living{nil}, 1, nil, nil},
		"the predecessor ends":      {KubeProxy, [][]Living{{kubeProxy}, nil}, 2, nil, []string{"waiting for the end", "sign P", "delete daemonset kube-proxy", "has stopped"}},
		"the other one comes along": {KubeProxy, [][]Living{{kubeProxy}, {kubeProxy, kubeRouter}}, 2, []string{"kube-router is alive"}, []string{"waiting for the end"}},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			looks := 0
			err := Admit(t.Context(), c.takeOver, func(context.Context) []Living {
				looks++
				return c.alive[looks-1]
			}, slog.New(slog.NewTextHandler(&log, nil)))
			if looks != c.looks || (err == nil) != (c.err == nil) {
				t.Errorf("%d looks, %v", looks, err)
			}
			for _, text := range c.err {
				if err != nil && !strings.Contains(err.Error(), text) {
					t.Errorf("the error does not say %q: %v", text, err)
				}
			}
			for _, text := range c.log {
				if strings.Count(log.String(), text) != 1 {
					t.Errorf("the log does not say %q once:\n%s", text, log.String())
				}
			}
		})
	}
}

// TestAdmitEndsWithItsContext while it waits.
func TestAdmitEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	err := Admit(ctx, KubeProxy, func(context.Context) []Living {
		cancel()
		return []Living{{Proxy: KubeProxy, Sign: "sign"}}
	}, slog.New(slog.DiscardHandler))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", err)
	}
}
