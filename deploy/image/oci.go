package main

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// platformImage is the image for one architecture.
type platformImage struct {
	platform string
	v1.Image
}

// labels say what the image is, by the names of the image specification.
func (o order) labels(p product) map[string]string {
	all := map[string]string{
		"org.opencontainers.image.title":       p.name,
		"org.opencontainers.image.description": p.title,
		"org.opencontainers.image.version":     o.version,
		"org.opencontainers.image.created":     o.created.Format(time.RFC3339),
		"org.opencontainers.image.licenses":    "Apache-2.0",
	}
	if o.revision != "" {
		all["org.opencontainers.image.revision"] = o.revision
	}
	return all
}

// image puts layers together. The program runs as root, because it administers the node's network.
func (o order) image(p product, platform string, layers []*tree) (v1.Image, error) {
	image := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	image = mutate.ConfigMediaType(image, types.OCIConfigJSON)
	for _, t := range layers {
		content, err := t.tar()
		if err != nil {
			return nil, err
		}
		open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }
		layer, err := tarball.LayerFromOpener(open,
			tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(9))
		if err != nil {
			return nil, err
		}
		history := v1.History{Created: v1.Time{Time: t.date}, CreatedBy: "make image"}
		if image, err = mutate.Append(image, mutate.Addendum{
			Layer: layer, History: history, MediaType: types.OCILayer,
		}); err != nil {
			return nil, err
		}
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = "linux", platform, v1.Time{Time: o.created}
	config.Variant = variantOf(platform)
	config.Config = v1.Config{
		Entrypoint: []string{"/" + programs + "/" + p.name}, Cmd: p.command, User: "0:0", WorkingDir: "/",
		Env: []string{"PATH=/usr/local/bin:/usr/sbin:/usr/bin"}, Labels: o.labels(p),
	}
	image, err = mutate.ConfigFile(image, config)
	if err != nil {
		return nil, err
	}
	return mutate.Annotations(image, o.labels(p)).(v1.Image), nil
}

// variantOf returns the variant of an architecture by the OCI's list, "" for none.
func variantOf(architecture string) string {
	if architecture == "arm64" {
		return "v8"
	}
	return ""
}

// archive writes an image of all architectures as a tar of an OCI layout, and returns its digest and the compressed
// size for each architecture.
func (o order) archive(path string, p product, images []platformImage) (v1.Hash, string, error) {
	var index v1.ImageIndex = mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	sizes := ""
	for _, image := range images {
		platform := &v1.Platform{OS: "linux", Architecture: image.platform, Variant: variantOf(image.platform)}
		index = mutate.AppendManifests(
			index, mutate.IndexAddendum{Add: image.Image, Descriptor: v1.Descriptor{Platform: platform}},
		)
		size, err := compressed(image)
		if err != nil {
			return v1.Hash{}, "", err
		}
		sizes += fmt.Sprintf("(%s: %.1f MiB) ", image.platform, float64(size)/(1<<20))
	}
	index = mutate.Annotations(index, o.labels(p)).(v1.ImageIndex)
	digest, err := index.Digest()
	if err != nil {
		return digest, "", err
	}
	dir, err := os.MkdirTemp(o.out, "layout-")
	if err != nil {
		return digest, "", err
	}
	defer os.RemoveAll(dir)
	to, err := layout.Write(dir, empty.Index)
	if err != nil {
		return digest, "", err
	}
	name := p.name + ":" + o.version
	// The first name is what containerd gives the image, the second what other tools know of it.
	annotations := map[string]string{
		"io.containerd.image.name": "docker.io/ipvs-proxier/" + name, "org.opencontainers.image.ref.name": o.version,
	}
	if err := to.AppendIndex(index, layout.WithAnnotations(annotations)); err != nil {
		return digest, "", err
	}
	return digest, sizes, tarOf(dir, path)
}

func compressed(image v1.Image) (size int64, err error) {
	layers, err := image.Layers()
	for _, layer := range layers {
		n, err := layer.Size()
		if err != nil {
			return 0, err
		}
		size += n
	}
	return size, err
}

// tarOf writes a directory as an archive whose bytes depend on nothing but its files.
func tarOf(dir, path string) error {
	t := newTree(time.Unix(0, 0).UTC())
	err := filepath.WalkDir(dir, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(file)
		t.add(name, 0o644, content)
		return err
	})
	if err != nil {
		return err
	}
	content, err := t.tar()
	if err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o644)
}
