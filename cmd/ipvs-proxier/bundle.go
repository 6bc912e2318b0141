package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/ipvs-proxier/ipvs-proxier/proxier"
)

func bundleCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "bundle [FILE]",
		Short: "Make one archive of what this node knows, for a bug report",
		Long: "Make an archive (tar, gzip) with versions, the configuration, what the daemon says of each Service and endpoint, its metrics and health,\n" +
			"the kernel's virtual servers, sets, rules and addresses, what check node and plan say, and the Services, EndpointSlices and the Node.\n" +
			"There is no Secret in it, no kubeconfig, and no annotation of other programs; names and addresses are as they are.\n\n" +
			"It reads only. Without a daemon or an API server it makes what it can; README.txt and index.json in the archive say what is missing,\n" +
			"and why. Give it the flags and the configuration of run, and run it as root, or in the pod. - writes to the standard output.\n\n" +
			"status --bundle FILE and explain --bundle FILE read it, anywhere and without root.",
		Example: "  ipvs-proxier bundle --config /etc/ipvs-proxier/config.yaml\n" +
			"  kubectl -n ipvs-proxier exec POD -- ipvs-proxier bundle --config /etc/ipvs-proxier/config.yaml - > node.tar.gz\n" +
			"  ipvs-proxier status --bundle node.tar.gz shop/web",
	}
	o := newOptions(c.Flags())
	timeout := c.Flags().Duration("timeout", 20*time.Second,
		"how long to wait for the objects, and for each answer of the daemon")
	c.Args = func(_ *cobra.Command, args []string) error {
		if len(args) > 1 {
			return usageError{Err: fmt.Errorf("bundle takes one FILE at most, found %q", args[1])}
		}
		return nil
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		if *timeout <= 0 {
			return usageError{Err: fmt.Errorf("--timeout %s is out of range; want more than 0", *timeout)}
		}
		config, err := o.complete()
		if err != nil {
			return err
		}
		file := fmt.Sprintf("ipvs-proxier-%s-%s.tar.gz", config.NodeName, time.Now().UTC().Format("20060102-150405"))
		if len(args) > 0 {
			file = args[0]
		}
		make := func(ctx context.Context, w io.Writer) error {
			index, err := proxier.MakeBundle(ctx, config, version, *timeout, w, logger(config))
			if err != nil {
				return err
			}
			for _, f := range index.Missing() {
				fmt.Fprintf(c.ErrOrStderr(), "missing: %s (%s): %s\n", f.Name, f.What, printableLines(f.Missing))
			}
			return nil
		}
		if file == "-" {
			return make(c.Context(), c.OutOrStdout())
		}
		if err := createFile(c.Context(), file, make); err != nil {
			return err
		}
		fmt.Fprintln(c.OutOrStdout(), file)
		return nil
	}
	return c
}

// createFile writes a new file that its owner alone may read. Where that does not succeed there is none.
func createFile(ctx context.Context, path string, write func(context.Context, io.Writer) error) error {
	f, err := os.OpenFile(filepath.Clean(path), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s is there already; name another file, or remove it", path)
	}
	if err != nil {
		return err
	}
	if err = errors.Join(write(ctx, f), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(path))
	}
	return nil
}

// bundleFlag declares --bundle.
func bundleFlag(c *cobra.Command, file *string) {
	c.Flags().StringVar(file, "bundle", "", "read this archive of `ipvs-proxier bundle` instead of the node")
	must(c.MarkFlagFilename("bundle", "tar.gz"))
}

// fetched returns what the daemon says, or said by the archive of that file unless that is "", and when that was.
func fetched[T any](
	file string, ask func() (T, error), read func(proxier.Bundle) (T, error),
) (said T, at time.Time, err error) {
	if file == "" {
		said, err = ask()
		return said, time.Now(), err
	}
	b, err := proxier.OpenBundle(file)
	if err == nil {
		said, err = read(b)
	}
	if err != nil {
		return said, at, fmt.Errorf("--bundle: %w", err)
	}
	return said, b.Made(), nil
}

// beside is an error of wrong use where one of the flags is given that make no sense with --bundle.
func beside(c *cobra.Command, flags ...string) error {
	for _, name := range flags {
		if c.Flags().Changed(name) {
			return usageError{Err: fmt.Errorf("--bundle reads an archive, which --%s has no meaning for", name)}
		}
	}
	return nil
}
