package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/server"
	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/target"
	"github.com/ipvs-proxier/ipvs-proxier/internal/wronguse"
)

func serveCommand() *cobra.Command {
	var (
		config server.Config
		listen []string
	)
	c := &cobra.Command{
		Use:   "serve --listen tcp://ADDRESS:PORT [--listen udp://ADDRESS:PORT ...]",
		Short: "Answer every request with this server's identity and the client's address",
		Long: `serve answers each request line with one line that holds this server's identity and the address of the client
as the server sees it. A TCP connection stays usable until the client closes it. Any line is a request, an empty
one too, so netcat can ask. It ends cleanly on TERM and INT.`,
		Example: `  ipvs-load serve --listen tcp://0.0.0.0:8080
  ipvs-load serve --listen tcp://[::]:8080 --listen udp://[::]:8080 --id web-1
  ipvs-load serve --listen tcp://127.0.0.1:8080 --id slow --delay 50ms --delay-jitter 10ms
  echo | nc 127.0.0.1 8080`,
		Args: wronguse.NoArgs,
	}
	f := c.Flags()
	f.StringArrayVar(&listen, "listen", nil,
		"`ADDRESS` to listen on, tcp:// or udp://, may be repeated; port 0 lets the kernel choose; [::] takes IPv4 too")
	f.StringVar(&config.ID, "id", "", "identity to answer with (default: the host name)")
	f.DurationVar(&config.Delay, "delay", 0, "time from a request to its answer")
	f.DurationVar(&config.Jitter, "delay-jitter", 0, "how far the delay varies, evenly, up and down; at most --delay")
	f.IntVar(&config.Connections, "max-connections", server.DefaultConnections,
		"TCP connections at once; one more is closed when it comes")
	c.RunE = func(c *cobra.Command, _ []string) error {
		for _, s := range listen {
			t, err := target.ParseListen(s)
			if err != nil {
				return usageError{Err: err}
			}
			config.Listen = append(config.Listen, t)
		}
		if config.ID == "" {
			name, err := os.Hostname()
			if err != nil {
				return fmt.Errorf("read the host name, which is the identity when --id is not given: %w", err)
			}
			config.ID = name
		}
		if err := config.Validate(); err != nil {
			return usageError{Err: err}
		}
		return serve(c, config)
	}
	return c
}

func serve(c *cobra.Command, config server.Config) error {
	ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	config.Full = func() {
		logLine(c, "there are %d connections, as many as --max-connections allows; further ones are closed", config.Connections)
	}
	s, err := server.New(config)
	if err != nil {
		return err
	}
	logLine(c, "%s", s)
	if err := s.Serve(ctx); err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	logLine(c, "ended: %v", context.Cause(ctx))
	return nil
}

// logLine writes one line with the time to standard error.
func logLine(c *cobra.Command, format string, args ...any) {
	fmt.Fprintf(c.ErrOrStderr(), "%s ipvs-load: %s\n",
		time.Now().Format("2006-01-02T15:04:05.000Z07:00"), fmt.Sprintf(format, args...))
}
