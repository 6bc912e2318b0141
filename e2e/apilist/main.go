// Command apilist reads the Services and EndpointSlices of a cluster from its API, as fast as that gives them, and does
// nothing with them. It shows the time that the API takes of a proxy's first programming.
//
//	apilist KUBECONFIG            in one answer each
//	apilist -events KUBECONFIG    as streams of events (watch-list, KEP-3157), which is how the reflectors of client-go ask by default
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
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
	events := flag.Bool("events", false, "as streams of events")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: apilist [-events] KUBECONFIG")
		return 2
	}
	if err := list(ctx, flag.Arg(0), *events); err != nil {
		fmt.Fprintln(os.Stderr, "apilist:", err)
		return 1
	}
	return 0
}

func list(ctx context.Context, kubeconfig string, events bool) error {
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
	ask := read
	if events {
		ask = watch
	}
	failed := make([]error, len(paths))
	var reading sync.WaitGroup
	for i, path := range paths {
		reading.Go(func() {
			n, err := ask(ctx, client, strings.TrimSuffix(config.Host, "/")+path)
			fmt.Println(path, n, "bytes")
			failed[i] = err
		})
	}
	reading.Wait()
	return errors.Join(failed...)
}

// read reads an answer to its end.
func read(ctx context.Context, client *http.Client, url string) (n int64, err error) {
	body, err := get(ctx, client, url, "application/vnd.kubernetes.protobuf")
	if err != nil {
		return 0, err
	}
	n, err = io.Copy(io.Discard, body)
	return n, errors.Join(err, body.Close())
}

// watch reads a stream up to the bookmark that ends what there was at the beginning.
func watch(ctx context.Context, client *http.Client, url string) (n int64, err error) {
	body, err := get(
		ctx, client, url+"?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true",
		"application/vnd.kubernetes.protobuf;stream=watch",
	)
	if err != nil {
		return 0, err
	}
	defer body.Close()
	end := []byte("k8s.io/initial-events-end")
	buffer, kept := make([]byte, 1<<16), 0
	for {
		more, err := body.Read(buffer[kept:])
		n += int64(more)
		have := buffer[:kept+more]
		if bytes.Contains(have, end) {
			return n, nil
		}
		if err != nil {
			return n, fmt.Errorf("%s: no end of the initial events after %d bytes: %w", url, n, err)
		}
		kept = copy(buffer, have[max(0, len(have)-len(end)):])
	}
}

func get(ctx context.Context, client *http.Client, url, accept string) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", accept)
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("%s: %s", url, answer.Status), answer.Body.Close())
	}
	return answer.Body, nil
}
