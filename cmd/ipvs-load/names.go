package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/target"
)

// withAddresses adds to an error about a name which addresses the name has, so that one of them can be written instead.
// It asks DNS for two seconds at most.
func withAddresses(ctx context.Context, err error) error {
	name := target.NameError("")
	if !errors.As(err, &name) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	addresses, lookup := net.DefaultResolver.LookupHost(ctx, string(name))
	if lookup != nil || len(addresses) == 0 {
		return err
	}
	return fmt.Errorf("%w; %s has the addresses %s: write one of them", err, string(name), strings.Join(addresses, ", "))
}
