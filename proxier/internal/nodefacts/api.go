package nodefacts

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"time"

	"k8s.io/client-go/rest"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/nodecheck"
)

// The times of asking API servers.
const (
	serverTimeout = 5 * time.Second
	listTimeout   = 30 * time.Second
)

// API adds what the API servers say. It creates no object: a SelfSubjectAccessReview is answered and not kept. node is
// this Node's name.
func API(ctx context.Context, f *nodecheck.Facts, config *rest.Config, urls []string, node string) {
	config = rest.CopyConfig(config)
	config.Timeout = listTimeout
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		f.Source = err.Error()
		return
	}
	f.Servers = make([]nodecheck.Server, len(urls))
	var wait sync.WaitGroup
	for i, u := range urls {
		wait.Go(func() { f.Servers[i] = greet(ctx, client, u) })
	}
	wait.Wait()
	f.Access, f.Node, f.NodePorts = nil, nodecheck.Not[bool](noServer), nodecheck.Not[[]uint16](noServer)
	i := slices.IndexFunc(f.Servers, nodecheck.Server.Answers)
	if i < 0 {
		return
	}
	a := asker{ctx, client, urls[i]}
	f.Access = map[nodecheck.Permission]nodecheck.Maybe[bool]{}
	for _, p := range nodecheck.Permissions {
		f.Access[p] = known(a.allows(p))
	}
	f.Node = known(a.hasNode(node))
	ports, kubernetes, err := a.services()
	f.NodePorts, f.KubernetesIPs = known(ports, err), kubernetes
}

const noServer = "no API server answers"

// greet sends a server a request for /readyz, which every client may read whom the server knows.
func greet(ctx context.Context, client *http.Client, server string) (s nodecheck.Server) {
	s = nodecheck.Server{URL: server, Ahead: nodecheck.Not[time.Duration]("its answer has no date")}
	ctx, cancel := context.WithTimeout(ctx, serverTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, server+"/readyz", nil)
	if err != nil {
		s.Err = err.Error()
		return s
	}
	began := time.Now()
	response, err := client.Do(request)
	if err != nil {
		if inner := (*url.Error)(nil); errors.As(err, &inner) {
			err = inner.Err
		}
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("no answer within %s", serverTimeout)
		}
		s.Err = err.Error()
		return s
	}
	defer response.Body.Close()
	took := time.Since(began)
	if date, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		// A date has whole seconds: on the average it is half of one late.
		s.Ahead = nodecheck.Is(date.Add(time.Second / 2).Sub(began.Add(took / 2)))
	}
	s.Status = response.StatusCode
	if s.Status >= http.StatusInternalServerError {
		s.Err = "/readyz says " + response.Status
	}
	return s
}

// asker asks one API server.
type asker struct {
	ctx    context.Context
	client *http.Client
	server string
}

// do sends a request and reads the JSON of the answer.
func (a asker) do(method, path string, body, into any) error {
	var send io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return err
		}
		send = bytes.NewReader(data)
	}
	request, err := http.NewRequestWithContext(a.ctx, method, a.server+path, send)
	if err != nil {
		return err
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("Content-Type", "application/json")
	response, err := a.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s %s: %s", method, path, response.Status)
	}
	return json.NewDecoder(response.Body).Decode(into)
}

// review is a SelfSubjectAccessReview (authorization.k8s.io/v1).
type review struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	Spec       reviewSpec   `json:"spec"`
	Status     reviewStatus `json:"status,omitzero"`
}

type reviewSpec struct {
	ResourceAttributes resourceAttributes `json:"resourceAttributes"`
}

type resourceAttributes struct {
	Group    string `json:"group"`
	Resource string `json:"resource"`
	Verb     string `json:"verb"`
}

type reviewStatus struct {
	Allowed bool `json:"allowed"`
}

func (a asker) allows(p nodecheck.Permission) (bool, error) {
	answer := review{}
	err := a.do(http.MethodPost, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review{
		APIVersion: "authorization.k8s.io/v1", Kind: "SelfSubjectAccessReview",
		Spec: reviewSpec{resourceAttributes{p.Group, p.Resource, p.Verb}},
	}, &answer)
	return answer.Status.Allowed, err
}

// hasNode lists the Node, as `run` does, because it may not get it.
func (a asker) hasNode(name string) (bool, error) {
	var nodes struct{ Items []json.RawMessage }
	err := a.do(http.MethodGet, "/api/v1/nodes?limit=1&fieldSelector="+url.QueryEscape("metadata.name="+name), nil, &nodes)
	return len(nodes.Items) > 0, err
}

// services returns the node ports of all Services, and the addresses of default/kubernetes.
func (a asker) services() (ports []uint16, kubernetes []netip.Addr, err error) {
	for next := ""; ; {
		var page struct {
			Metadata struct{ Continue string }
			Items    []struct {
				Metadata struct{ Namespace, Name string }
				Spec     struct {
					ClusterIPs []string
					Ports      []struct{ NodePort uint16 }
				}
			}
		}
		if err := a.do(http.MethodGet, "/api/v1/services?limit=500&continue="+url.QueryEscape(next), nil, &page); err != nil {
			return nil, nil, err
		}
		for _, s := range page.Items {
			for _, p := range s.Spec.Ports {
				if p.NodePort != 0 {
					ports = append(ports, p.NodePort)
				}
			}
			if s.Metadata.Namespace != "default" || s.Metadata.Name != "kubernetes" {
				continue
			}
			for _, text := range s.Spec.ClusterIPs {
				if addr, err := netip.ParseAddr(text); err == nil {
					kubernetes = append(kubernetes, addr)
				}
			}
		}
		if next = page.Metadata.Continue; next == "" {
			return ports, kubernetes, nil
		}
	}
}
