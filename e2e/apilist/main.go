// Command apilist lists the Services and EndpointSlices of a cluster as a Service proxy does, by informers that do nothing with them, and
// ends: the time that the API takes of a proxy's first programming.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
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
	config.ContentType = "application/vnd.kubernetes.protobuf"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	services, slices := factory.Core().V1().Services().Informer(), factory.Discovery().V1().EndpointSlices().Informer()
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), services.HasSynced, slices.HasSynced) {
		return ctx.Err()
	}
	fmt.Println(len(services.GetStore().ListKeys()), "Services,", len(slices.GetStore().ListKeys()), "EndpointSlices")
	return nil
}
