package proxier

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/manifests"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/observe"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/source"
)

// opened is a source with what belongs to it.
type opened struct {
	source.Source
	// mistakes are the files that cannot be used.
	mistakes func() []string
	// client and servers are those of the Kubernetes API; nil with manifests.
	client  *source.Client
	servers *source.Servers
	// reached are the addresses of API servers; none with manifests.
	reached *source.Reached
}

// origin returns what status shows of it.
func (o opened) origin() observe.Origin {
	from := observe.Origin{Mistakes: o.mistakes, Servers: o.servers}
	if o.client != nil {
		from.View = o.client.View
	}
	return from
}

// open opens the source that the configuration names.
func open(ctx context.Context, c Config, version string, log *slog.Logger) (opened, error) {
	if c.Manifests != "" {
		return openManifests(ctx, c, log)
	}
	return openAPI(c, version, log)
}

func openManifests(ctx context.Context, c Config, log *slog.Logger) (opened, error) {
	directory, err := manifests.Open(c.Manifests, func(file, mistake string) {
		if mistake == "" {
			log.Info("manifest can be used again", "file", file)
		} else {
			log.Error("manifest cannot be used", "file", file, "reason", mistake)
		}
	})
	if err != nil {
		return opened{}, err
	}
	go func() {
		if err := directory.Run(ctx); err != nil {
			log.Error("cannot watch the manifests", "err", err)
		}
	}()
	from := source.Source{Services: directory.Services(), Slices: directory.Slices(), Nodes: directory.Nodes()}
	return opened{Source: from, mistakes: directory.Mistakes, reached: &source.Reached{}}, nil
}

func openAPI(c Config, version string, log *slog.Logger) (opened, error) {
	config, err := restConfig(c)
	if err != nil {
		return opened{}, err
	}
	config.UserAgent = "ipvs-proxier/" + version
	urls, err := c.serverURLs(config)
	if err != nil {
		return opened{}, err
	}
	log.Info("Services come from the API", "servers", strings.Join(urls, ", "))
	servers, err := source.NewServers(urls, func(text string, args ...any) { log.Warn(text, args...) })
	if err != nil {
		return opened{}, err
	}
	config.Wrap(servers.Wrap)
	reached := &source.Reached{}
	servers.Named(reached)
	if config.Dial == nil {
		config.Dial = reached.Dial
	}
	client, err := source.NewClient(config)
	if err != nil {
		return opened{}, err
	}
	return opened{
		Source: client.Source(c.selection()), mistakes: func() []string { return nil }, client: client, servers: servers,
		reached: reached,
	}, nil
}

// selection returns which objects are requested from the API.
func (c Config) selection() source.Selection {
	s := source.Selection{ProxyName: c.ServiceProxyName}
	if c.WatchNodes == OwnNode {
		s.OnlyNode = c.NodeName
	}
	return s
}

func restConfig(c Config) (*rest.Config, error) {
	if c.Kubeconfig != "" {
		config, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig)
		if err != nil {
			return nil, fmt.Errorf("kubeconfig: %w", err)
		}
		return config, nil
	}
	config, err := rest.InClusterConfig()
	if errors.Is(err, rest.ErrNotInCluster) {
		return nil, errors.New("no source of Services: give --manifests or --kubeconfig, or run in a cluster")
	}
	if err != nil {
		return nil, fmt.Errorf("in-cluster configuration: %w", err)
	}
	return config, nil
}
