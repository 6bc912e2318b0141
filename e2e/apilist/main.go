// Command apilist reads the Services and EndpointSlices of a cluster from its API, as fast as that gives them, does nothing with them, and ends: the time that
// the API takes of a proxy's first programming.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: apilist KUBECONFIG")
		return 2
	}
	if err := list(ctx, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "apilist:", err)
		return 1
	}
	return 0
}

func list(ctx context.Context, kubeconfig string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return err
	}
	// Both at once, as a proxy does.
	paths := []string{"/api/v1/services", "/apis/discovery.k8s.io/v1/endpointslices"}
	failed := make([]error, len(paths))
	var reading sync.WaitGroup
	for i, path := range paths {
		reading.Go(func() {
			n, err := read(ctx, client, strings.TrimSuffix(config.Host, "/")+path)
			fmt.Println(path, n, "bytes")
			failed[i] = err
		})
	}
	reading.Wait()
	return errors.Join(failed...)
}

func read(ctx context.Context, client *http.Client, url string) (n int64, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	request.Header.Set("Accept", "application/vnd.kubernetes.protobuf")
	answer, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	n, err = io.Copy(io.Discard, answer.Body)
	err = errors.Join(err, answer.Body.Close())
	if answer.StatusCode != http.StatusOK {
		err = errors.Join(err, fmt.Errorf("%s: %s", url, answer.Status))
	}
	return n, err
}
