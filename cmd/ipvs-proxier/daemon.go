package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"github.com/ipvs-proxier/ipvs-proxier/proxier"
)

// daemon is where a command asks the daemon.
type daemon struct {
	socket, server string
	// at is the one of both that was chosen: a path, or an address with a port.
	at string
}

// flags declares --socket, and --server, which was there before it.
func (d *daemon) flags(f *pflag.FlagSet) {
	f.StringVar(&d.socket, "socket", proxier.Default().Socket, "the daemon's --socket")
	f.StringVar(&d.server, "server", "",
		"the daemon's --metrics-bind-address, to be asked instead of the socket; it goes with the next version")
}

// choose reads the flags.
func (d *daemon) choose(f *pflag.FlagSet) (err error) {
	if f.Changed("server") {
		if f.Changed("socket") {
			return usageError{Err: errors.New("--server and --socket each name where the daemon is asked: want one of them")}
		}
		d.at, err = serverAddress(d.server)
		return err
	}
	if !filepath.IsAbs(d.socket) {
		return usageError{Err: fmt.Errorf(
			"--socket %q is not an absolute path, such as %s", d.socket, proxier.Default().Socket,
		)}
	}
	d.at = d.socket
	return nil
}

// serverAddress returns the address of --server without a scheme.
func serverAddress(text string) (string, error) {
	if strings.HasPrefix(text, "https://") {
		return "", usageError{Err: fmt.Errorf(
			"--server %q: the daemon speaks HTTP without TLS; want an address with a port, such as 127.0.0.1:10249", text,
		)}
	}
	address := strings.TrimSuffix(strings.TrimPrefix(text, "http://"), "/")
	if address == "" || strings.HasPrefix(address, "/") {
		return "", usageError{Err: fmt.Errorf(
			"--server %q is not an address with a port, such as 127.0.0.1:10249; --socket takes a path", text,
		)}
	}
	return address, nil
}
