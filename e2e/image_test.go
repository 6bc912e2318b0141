//go:build e2e

package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
)

// TestImage runs the image of make image as the DaemonSet has its container run: by crun, with its capabilities, its
// mounts, its read-only root, no new privileges and the engines' default seccomp profile. The program finds the
// iptables that the node uses, serves, starts again without a write, and its cleanup leaves nothing.
func TestImage(t *testing.T) {
	c := newCluster(t)
	client := c.pod(1, 50, "client")
	one, two := c.backend(1, 10, "one"), c.backend(2, 10, "two")
	c.write("web.yaml", with(web(nodePort), one, two))
	node, err := c.Node1.Run("iptables", "--version")
	c.must(err)
	variant := "legacy"
	if strings.Contains(node, "nf_tables") {
		variant = "nft"
	}
	// As a kubelet leaves it.
	_, err = c.Node1.Run("iptables", "-t", "mangle", "-N", "KUBE-IPTABLES-HINT")
	c.must(err)

	b := c.unpackImage("ipvs-proxier")
	run := []string{
		"run", "--node-name", "node1", "--cluster-cidr", "10.244.0.0/16,fd00:10:244::/48", "--manifests", "/manifests",
	}
	c.startContainer(b, run...)
	c.must(c.proxier.AwaitReady())
	c.awaitOutput("variant=" + variant)
	c.awaitOutput("KUBE-IPTABLES-HINT")
	for range 4 {
		c.ask(client, "tcp", web4)
		c.ask(client, "udp", web6)
		c.ask(c.Outside, "tcp", at(c.Node1.IPv4, webNodePort))
	}
	c.must(c.proxier.Stop())
	before := c.sorted()
	c.startContainer(b, run...)
	c.must(c.proxier.AwaitReady())
	if came := without(c.sorted(), before); len(came) > 0 {
		t.Errorf("a start with nothing changed has written %q", came)
	}
	c.must(c.proxier.Stop())

	cleanup, err := c.Node1.Run("crun", b.configure("cleanup").args("cleanup")...)
	c.must(err)
	if !strings.Contains(cleanup, "objects removed") {
		t.Errorf("cleanup said %q", cleanup)
	}
	if left, err := c.Node1.Run("ipvsadm", "-Sn"); err != nil || left != "" || strings.Contains(c.dataplane(), "IPVSP-") {
		t.Errorf("cleanup left %q, %v", left, err)
	}
}

// bundle is an unpacked image, and how a container of it is run.
type bundle struct {
	t         *testing.T
	dir       string
	image     imageConfig
	container v1.Container
	volumes   []v1.Volume
	manifests string
}

type imageConfig struct {
	Config struct {
		Entrypoint, Env []string
	} `json:"config"`
}

// unpackImage unpacks the image for this machine, and reads how the DaemonSet has it run.
func (c *cluster) unpackImage(name string) *bundle {
	c.t.Helper()
	archives, err := filepath.Glob(programs.Path("image") + "/" + name + "-*.tar")
	c.must(err)
	if len(archives) != 1 {
		c.t.Fatalf("%d archives of %s in %s, want one: make e2e makes it", len(archives), name, programs.Path("image"))
	}
	b := &bundle{t: c.t, dir: c.t.TempDir(), manifests: c.manifests}
	b.image, err = unpackArchive(archives[0], filepath.Join(b.dir, "rootfs"))
	c.must(err)
	text, err := os.ReadFile("deploy/ipvs-proxier.yaml")
	c.must(err)
	for _, document := range strings.Split(string(text), "\n---\n") {
		var daemons appsv1.DaemonSet
		var head metav1.TypeMeta
		c.must(yaml.Unmarshal([]byte(document), &head))
		if head.Kind != "DaemonSet" {
			continue
		}
		c.must(yaml.UnmarshalStrict([]byte(document), &daemons))
		b.container, b.volumes = daemons.Spec.Template.Spec.Containers[0], daemons.Spec.Template.Spec.Volumes
	}
	return b
}

// startContainer starts the image's program in a container with these arguments.
func (c *cluster) startContainer(b *bundle, args ...string) {
	c.t.Helper()
	name := fmt.Sprintf("proxier-%d", len(c.lives))
	proxier, err := programs.Adopt(c.Node1, "crun", b.configure(args...).args(name)...)
	c.must(err)
	c.proxier = proxier
	c.lives = append(c.lives, proxier)
}

// args are those of crun. A guest has no control groups for it.
func (b *bundle) args(name string) []string {
	return []string{
		"--root", filepath.Join(b.dir, "state"), "--cgroup-manager", "disabled", "run", "--bundle", b.dir, name,
	}
}

// configure writes the container's configuration.
func (b *bundle) configure(args ...string) *bundle {
	b.t.Helper()
	fail := func(err error) {
		if err != nil {
			b.t.Helper()
			b.t.Fatal(err)
		}
	}
	capabilities := capabilitiesOf(b.container)
	profile, err := harness.SeccompProfile(programs, capabilities)
	fail(err)
	type object = map[string]any
	mounts := []object{
		{"destination": "/proc", "type": "proc", "source": "proc"},
		{"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": []string{"nosuid", "mode=755", "size=64k"}},
		{"destination": "/sys", "type": "none", "source": "/sys", "options": []string{"rbind", "nosuid", "noexec", "nodev", "ro"}},
		{"destination": "/manifests", "type": "none", "source": b.manifests, "options": []string{"bind", "ro"}},
	}
	for _, mount := range b.container.VolumeMounts {
		for _, volume := range b.volumes {
			if volume.Name != mount.Name || volume.HostPath == nil {
				continue
			}
			if kind := volume.HostPath.Type; kind != nil && *kind == v1.HostPathFileOrCreate {
				file, err := os.OpenFile(volume.HostPath.Path, os.O_CREATE, 0o600)
				fail(err)
				fail(file.Close())
			}
			options := []string{"rbind", "rw"}
			if mount.ReadOnly {
				options[1] = "ro"
			}
			mounts = append(
				mounts, object{"destination": mount.MountPath, "type": "none", "source": volume.HostPath.Path, "options": options},
			)
		}
	}
	config, err := json.Marshal(object{
		"ociVersion": "1.0.2",
		"process": object{
			"user": object{"uid": 0, "gid": 0}, "cwd": "/", "env": b.image.Config.Env,
			"args":            append(b.image.Config.Entrypoint, args...),
			"noNewPrivileges": !*b.container.SecurityContext.AllowPrivilegeEscalation,
			"capabilities":    object{"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
		},
		"root":   object{"path": "rootfs", "readonly": *b.container.SecurityContext.ReadOnlyRootFilesystem},
		"mounts": mounts,
		"linux": object{
			// The network, and processes' numbers, are the node's.
			"namespaces":    []object{{"type": "mount"}, {"type": "ipc"}, {"type": "uts"}},
			"seccomp":       json.RawMessage(profile),
			"maskedPaths":   []string{"/proc/kcore", "/proc/keys", "/proc/timer_list"},
			"readonlyPaths": []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
		},
	})
	fail(err)
	fail(os.WriteFile(filepath.Join(b.dir, "config.json"), config, 0o600))
	return b
}

// unpackArchive unpacks the image for this architecture from an archive of an OCI layout.
func unpackArchive(archive, root string) (config imageConfig, err error) {
	file, err := os.Open(archive)
	if err != nil {
		return config, err
	}
	defer file.Close()
	blobs := map[string][]byte{}
	for r := tar.NewReader(file); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return config, err
		}
		if blobs[header.Name], err = io.ReadAll(r); err != nil {
			return config, err
		}
	}
	type descriptor struct {
		Digest   string `json:"digest"`
		Platform struct {
			Architecture string `json:"architecture"`
		} `json:"platform"`
	}
	type manifest struct {
		Manifests, Layers []descriptor
		Config            descriptor
	}
	read := func(name string, into any) {
		if err == nil {
			err = json.Unmarshal(blobs[name], into)
		}
	}
	blob := func(d descriptor) string { return "blobs/" + strings.Replace(d.Digest, ":", "/", 1) }
	var top, index, image manifest
	read("index.json", &top)
	if err != nil || len(top.Manifests) != 1 {
		return config, fmt.Errorf("index of %s: %d images, %w", archive, len(top.Manifests), err)
	}
	read(blob(top.Manifests[0]), &index)
	for _, d := range index.Manifests {
		if d.Platform.Architecture == runtime.GOARCH {
			read(blob(d), &image)
		}
	}
	read(blob(image.Config), &config)
	for _, layer := range image.Layers {
		if err == nil {
			err = unpackLayer(blobs[blob(layer)], root)
		}
	}
	return config, err
}

func unpackLayer(layer []byte, root string) error {
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(layer))
	if err != nil {
		return err
	}
	for r := tar.NewReader(unzipped); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		path := filepath.Join(root, header.Name)
		switch header.Typeflag {
		case tar.TypeDir:
			err = os.MkdirAll(path, 0o755)
		case tar.TypeSymlink:
			err = os.Symlink(header.Linkname, path)
		case tar.TypeReg:
			var content []byte
			if content, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(path, content, header.FileInfo().Mode())
			}
		default:
			err = fmt.Errorf("%s is of kind %c", header.Name, header.Typeflag)
		}
		if err != nil {
			return err
		}
	}
}
