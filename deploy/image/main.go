// Command image makes the images of ipvs-proxier and ipvs-load without a container engine: OCI archives for amd64 and
// arm64, of static programs and files of Debian packages, each with a list of what is in it (SPDX 2.3).
//
//	image -version v1.2.3 -created 1764460000 -out bin/out/image
//
// The same commit, Go and Debian packages give the same digests. `ctr images import`, `podman load`, `docker load` (25
// and later), skopeo and crane read the archives. It is a module of its own, because what writes images is no
// dependency of the programs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "image:", err)
		}
		os.Exit(1)
	}
}

// order is what the command line chooses.
type order struct {
	version, revision string
	created           time.Time
	suite             string
	platforms         []string
	out, cache, top   string
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	var o order
	flags.StringVar(&o.version, "version", "", "version of the programs, and tag of the images")
	flags.StringVar(&o.revision, "revision", "", "commit that the programs are built from")
	flags.StringVar(&o.suite, "suite", "trixie", "suite of Debian's archive that iptables comes from")
	flags.StringVar(&o.out, "out", "bin/out/image", "directory for the archives")
	flags.StringVar(&o.top, "top", ".", "top of the repository")
	platforms := flags.String("platforms", "amd64,arm64", "architectures, comma separated")
	created := flags.Int64("created", 0, "when the commit was made, in seconds since 1970: the images' date")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if o.version == "" || flags.NArg() > 0 {
		return errors.New("want -version, and no arguments")
	}
	o.created = time.Unix(*created, 0).UTC()
	o.platforms = strings.Split(*platforms, ",")
	for _, platform := range o.platforms {
		if architectures[platform] == "" {
			return fmt.Errorf("-platforms: %q is unknown; allowed are amd64 and arm64", platform)
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	o.cache = filepath.Join(cache, "ipvs-proxier", "image")
	for _, dir := range []string{o.out, o.cache} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	for _, p := range products {
		if err := o.make(ctx, p); err != nil {
			return fmt.Errorf("image of %s: %w", p.name, err)
		}
	}
	return nil
}

// product is an image.
type product struct {
	name, title string
	// iptables says that it brings both variants of them.
	iptables bool
	command  []string
}

var products = []product{
	{
		name: "ipvs-proxier", title: "Kubernetes service proxy that programs the kernel's IPVS", iptables: true,
		command: []string{"run"},
	},
	{name: "ipvs-load", title: "Load generator for Kubernetes Services", command: []string{"--help"}},
}

// programs is where they are in an image.
const programs = "usr/local/bin"

func (o order) make(ctx context.Context, p product) error {
	var made []platformImage
	for _, platform := range o.platforms {
		var layers []*tree
		parts := &contents{}
		if p.iptables {
			base, err := o.base(ctx, platform, parts)
			if err != nil {
				return err
			}
			layers = append(layers, base)
		}
		top, err := o.program(ctx, p.name, platform, parts)
		if err != nil {
			return err
		}
		document, err := o.document(p, platform, parts)
		if err != nil {
			return err
		}
		list := fmt.Sprintf("%s-%s-%s.spdx.json", p.name, o.version, platform)
		if err := os.WriteFile(filepath.Join(o.out, list), document, 0o644); err != nil {
			return err
		}
		top.add("usr/share/sbom/"+p.name+".spdx.json", 0o644, document)
		image, err := o.image(p, platform, append(layers, top))
		if err != nil {
			return err
		}
		made = append(made, platformImage{platform, image})
	}
	archive := filepath.Join(o.out, fmt.Sprintf("%s-%s.tar", p.name, o.version))
	digest, size, err := o.archive(archive, p, made)
	if err != nil {
		return err
	}
	fmt.Printf("%s: %s %s\n", archive, digest, size)
	return nil
}
