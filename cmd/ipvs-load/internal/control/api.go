package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

// apiServer is where the objects are written to, over connections that are kept: what a change costs the writer is one
// request.
type apiServer struct {
	base   string
	client *http.Client
}

const (
	servicesPath = "/api/v1/namespaces/default/services"
	slicesPath   = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
	// writers is how many requests are on their way at once while a cluster is made.
	writers = 8
	// apiTimeout is for one request. A list of 50,000 objects takes a slow API server a while.
	apiTimeout = 2 * time.Minute
)

func dialAPI(kubeconfig string) (*apiServer, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	config.Timeout = apiTimeout
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	return &apiServer{base: strings.TrimSuffix(base.String(), "/"), client: client}, nil
}

// do sends a request and reads the whole answer, into what into points to unless that is nil.
func (a *apiServer) do(ctx context.Context, method, path string, body []byte, into any) error {
	request, err := http.NewRequestWithContext(ctx, method, a.base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	answer, err := a.client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	switch {
	case err != nil:
		return fmt.Errorf("%s %s: %w", method, path, err)
	case answer.StatusCode >= 300:
		var status struct{ Message string }
		_ = json.Unmarshal(text, &status)
		return fmt.Errorf("%s %s: %s: %s", method, path, answer.Status, status.Message)
	case into == nil:
		return nil
	}
	return json.Unmarshal(text, into)
}

// objects of a Service in a generation, as the API takes them.
func (c *Cluster) objects(service, generation int) (serviceJSON, sliceJSON []byte, err error) {
	first, second, _ := strings.Cut(c.manifest(service, generation), "\n---\n")
	serviceJSON, err1 := yaml.YAMLToJSON([]byte(first))
	sliceJSON, err2 := yaml.YAMLToJSON([]byte(second))
	return serviceJSON, sliceJSON, errors.Join(err1, err2)
}

func serviceName(service int) string { return fmt.Sprint("load-", service) }
func sliceName(service int) string   { return serviceName(service) + "-a" }

// numberOf is the Service that the object of ours belongs to.
func numberOf(name string) (int, bool) {
	text, found := strings.CutPrefix(strings.TrimSuffix(name, "-a"), "load-")
	n, err := strconv.Atoi(text)
	return n, found && err == nil
}

// present is what the API has of ours, by the Service's number: the ClusterIP, and the slice's addresses.
type present struct {
	services map[int]string
	slices   map[int][]string
}

func (a *apiServer) list(ctx context.Context) (*present, error) {
	p := &present{services: map[int]string{}, slices: map[int][]string{}}
	var services struct {
		Items []struct {
			Metadata struct{ Name string }
			Spec     struct{ ClusterIP string }
		}
	}
	var slices struct {
		Items []struct {
			Metadata  struct{ Name string }
			Endpoints []struct{ Addresses []string }
		}
	}
	if err := errors.Join(
		a.do(ctx, http.MethodGet, servicesPath, nil, &services), a.do(ctx, http.MethodGet, slicesPath, nil, &slices),
	); err != nil {
		return nil, err
	}
	for _, s := range services.Items {
		if n, ours := numberOf(s.Metadata.Name); ours {
			p.services[n] = s.Spec.ClusterIP
		}
	}
	for _, s := range slices.Items {
		if n, ours := numberOf(s.Metadata.Name); ours {
			p.slices[n] = []string{}
			for _, e := range s.Endpoints {
				p.slices[n] = append(p.slices[n], e.Addresses...)
			}
		}
	}
	return p, nil
}

// ensure makes the API have exactly the Services of the cluster, in their generation 0, whatever it had of ours.
func (a *apiServer) ensure(ctx context.Context, c *Cluster) error {
	have, err := a.list(ctx)
	if err != nil {
		return err
	}
	var work []int
	for n := range have.services {
		if n >= c.Services {
			work = append(work, n)
		}
	}
	for n := range have.slices {
		if _, found := have.services[n]; n >= c.Services && !found {
			work = append(work, n)
		}
	}
	for n := range c.Services {
		work = append(work, n)
	}
	todo := make(chan int)
	failed := make(chan error, writers)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wait sync.WaitGroup
	for range writers {
		wait.Go(func() {
			for n := range todo {
				if err := a.ensureOne(ctx, c, have, n); err != nil {
					failed <- err
					cancel()
					return
				}
			}
		})
	}
feed:
	for _, n := range work {
		select {
		case todo <- n:
		case <-ctx.Done():
			break feed
		}
	}
	close(todo)
	wait.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return ctx.Err()
	}
}

func (a *apiServer) ensureOne(ctx context.Context, c *Cluster, have *present, n int) error {
	ip, isService := have.services[n]
	addresses, isSlice := have.slices[n]
	wanted := n < c.Services
	if isService && (!wanted || ip != c.clusterIP(n).String()) {
		if err := a.do(ctx, http.MethodDelete, servicesPath+"/"+serviceName(n), nil, nil); err != nil {
			return err
		}
		isService = false
	}
	same := true
	var want []string
	if wanted {
		for i := range c.Endpoints {
			want = append(want, c.endpoint(n, i, 0).String())
		}
		same = slices.Equal(addresses, want)
	}
	// The type of a slice's addresses cannot be changed.
	if isSlice && (!wanted || len(addresses) > 0 && strings.Contains(addresses[0], ":") != c.IPv6) {
		if err := a.do(ctx, http.MethodDelete, slicesPath+"/"+sliceName(n), nil, nil); err != nil {
			return err
		}
		isSlice = false
	}
	if !wanted || isService && isSlice && same {
		return nil
	}
	service, slice, err := c.objects(n, 0)
	if err != nil {
		return err
	}
	if !isService {
		if err := a.do(ctx, http.MethodPost, servicesPath, service, nil); err != nil {
			return err
		}
	}
	switch {
	case !isSlice:
		return a.do(ctx, http.MethodPost, slicesPath, slice, nil)
	case !same:
		return a.do(ctx, http.MethodPut, slicesPath+"/"+sliceName(n), slice, nil)
	}
	return nil
}
