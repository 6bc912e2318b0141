package proxier

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	built "github.com/ipvs-proxier/ipvs-proxier/internal/version"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/bundle"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/dataplane"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/edge"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/explain"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/inputfile"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/iptables"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/kernel"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/source"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// BundleIndex says what is in a bundle, and what is missing.
type BundleIndex = bundle.Index

// The files of a bundle that commands read.
const (
	bundleStatus  = "status.json"
	bundleJournal = "journal.json"
	bundleKernel  = "kernel.json"
)

// MakeBundle writes an archive for a bug report to w: what the daemon says, the kernel's state, the objects, and what
// this node lacks. It reads only, needs no daemon and no API, and notes in the index what is missing and why. An error
// is one of writing. patience bounds how long it waits for the objects, and for each answer of the daemon.
func MakeBundle(
	ctx context.Context, c Config, version string, patience time.Duration, w io.Writer, log *slog.Logger,
) (BundleIndex, error) {
	b := &bundling{Config: c, version: version, patience: patience, log: log}
	b.Made, b.Version, b.Node = time.Now(), version, c.NodeName
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	b.versions()
	text, err := WriteConfig(c)
	b.Add("config.yaml", "the configuration that bundle was given, without defaults", text, err)
	objects := b.listen(ctx)
	b.daemon(ctx)
	b.kernel(ctx)
	b.node(ctx)
	objects()
	return b.Index, b.Write(w)
}

// bundling gathers what is to be in a bundle.
type bundling struct {
	bundle.Maker
	Config   Config
	version  string
	patience time.Duration
	log      *slog.Logger

	// by is how sets and rules are held; readable says that the kernel could be read.
	by       kernel.NetfilterChoice
	readable bool
}

func (b *bundling) versions() {
	release, _, _, err := kernel.Release()
	if err != nil {
		release = err.Error()
	}
	text, err := json.MarshalIndent(struct {
		built.Info
		Kernel string `json:"kernel"`
	}{built.Of(b.version), release}, "", "  ")
	b.Add("version.json", "the program that made this, and the kernel", text, err)
}

// daemon adds what the running proxier answers.
func (b *bundling) daemon(ctx context.Context) {
	metrics, health := b.Config.MetricsBindAddress, b.Config.HealthzBindAddress
	if b.socketAnswers(ctx) {
		metrics, health = b.Config.Socket, b.Config.Socket
	}
	for _, f := range []struct{ name, what, address, path string }{
		{bundleStatus, "what the daemon says, of each endpoint, too", metrics, StatusPath + "?detail=true"},
		{bundleJournal, "its last changes in the kernel; of a dead daemon those that it has kept", metrics, JournalPath},
		{"metrics.txt", "the daemon's metrics", metrics, "/metrics"},
		{"healthz.txt", "its answer for load balancers", health, "/healthz"},
		{"livez.txt", "its answer for the kubelet", health, "/livez"},
		{"readyz.txt", "its answer for rollouts", health, "/readyz"},
	} {
		text, err := b.get(ctx, f.address, f.path)
		if err != nil && f.name == bundleJournal && b.Config.StateDir != "" {
			if kept, unread := ReadKeptJournal(b.Config.StateDir, ""); unread == nil {
				text, err = json.MarshalIndent(kept, "", "  ")
			}
		}
		b.Add(f.name, f.what, text, err)
	}
}

// socketAnswers reports whether the daemon is to be asked on its socket. One of an older version has none.
func (b *bundling) socketAnswers(ctx context.Context) bool {
	if b.Config.Socket == "" {
		return false
	}
	_, err := b.get(ctx, b.Config.Socket, "/")
	return err == nil
}

// get returns the daemon's answer; one of its health has the status in the first line, since that is the answer.
func (b *bundling) get(ctx context.Context, address, path string) ([]byte, error) {
	if address == "" {
		return nil, errors.New("the configuration switches the address off")
	}
	ctx, cancel := context.WithTimeout(ctx, edge.Operator().Answer)
	defer cancel()
	first := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	host := address
	if isSocket(address) {
		first, host = clientOf(address)
	}
	first.Transport.(*http.Transport).ResponseHeaderTimeout = max(b.patience, time.Second)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := first.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(inputfile.Bounded(response.Body, maxStatus))
	if err != nil {
		return nil, err
	}
	if strings.HasSuffix(path, "z") {
		return append([]byte(response.Status+"\n"), text...), nil
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", address, Printable(response.Status))
	}
	return text, nil
}

// kernel reads what is ours in the kernel, and what shows which part that is.
func (b *bundling) kernel(ctx context.Context) {
	k, err := b.observe(ctx)
	var text, machine []byte
	if err == nil {
		b.readable = true
		text = []byte(kernelText(k.Seen, b.by))
		machine, err = k.Encode()
	}
	b.Add("kernel.txt", "what the kernel holds: virtual servers, sets, rules, addresses, parameters", text, err)
	b.Add(bundleKernel, "the same, for explain --bundle", machine, err)
}

func (b *bundling) observe(ctx context.Context) (k bundle.Kernel, err error) {
	if b.by, err = b.Config.netfilterInUse(ctx); err != nil {
		return k, err
	}
	linux, err := kernel.NewLinux(b.Config.linux(b.Config.dataplane(kernel.Families(b.by.Netfilter), dataplane.Facts{}),
		b.by.Netfilter))
	if err != nil {
		return k, err
	}
	defer linux.Close()
	if k.Seen, err = linux.Observe(); err != nil {
		return k, fmt.Errorf("read the kernel: %w", err)
	}
	k.Connections = map[dataplane.VirtualServerID][]dataplane.Connections{}
	for _, all := range []map[dataplane.VirtualServerID]dataplane.VirtualServer{
		k.Seen.State.VirtualServers, k.Seen.Foreign,
	} {
		for id, v := range all {
			if len(v.RealServers) > 0 && v.RealServers[0].Upper > 0 { // else they do not matter to explain
				if k.Connections[id], err = linux.Connections(id); err != nil {
					return k, fmt.Errorf("read the connections of %s: %w", id, err)
				}
			}
		}
	}
	return k, nil
}

// kernelText is what the kernel holds, for people.
func kernelText(seen dataplane.Observation, by kernel.NetfilterChoice) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# sets and rules by %s, variant %s: %s\n%s",
		by.Netfilter, by.Variant, by.Why, seen.State.TextIn(iptables.Words{}))
	others := dataplane.NewState()
	for id, v := range seen.Foreign {
		others.SetVirtualServer(id, v)
	}
	fmt.Fprintf(
		&b,
		"\n# virtual servers of others\n%s\n# addresses of the node: %s\n# broadcast addresses: %s\n# sockets that listen:",
		others.TextIn(iptables.Words{}), seen.NodeAddresses, seen.Broadcasts,
	)
	for _, l := range seen.Listeners {
		fmt.Fprintf(&b, " %s/%s:%d", l.Protocol, l.Addr, l.Port)
	}
	b.WriteString("\n# rules of others that take packets away ahead of IPVS\n")
	for _, c := range seen.Captures.All() {
		fmt.Fprintf(&b, "%s %s %s%s\n", c.Family, c.Hook, c.Program, c.Rule)
	}
	for _, why := range seen.UnreadRules {
		fmt.Fprintf(&b, "not read: %s\n", why)
	}
	return b.String()
}

// node says what the node lacks.
func (b *bundling) node(ctx context.Context) {
	report, err := CheckNode(ctx, b.Config)
	var text bytes.Buffer
	var machine []byte
	if err == nil {
		if err = report.WriteText(&text, Printable); err == nil {
			machine, err = json.MarshalIndent(report, "", "  ")
		}
	}
	b.Add("check-node.txt", "what check node says of this node", text.Bytes(), err)
	b.Add("check-node.json", "the same, for programs", machine, err)
}

// listen begins to read the objects. What it returns waits for them, and adds them, with what a start would do.
func (b *bundling) listen(ctx context.Context) func() {
	const what = "Services, EndpointSlices and this Node, as they are read"
	const plan = "what a start would change in the kernel now"
	add := func(err error) func() {
		return func() {
			b.Add("objects.yaml", what, nil, err)
			b.Add("plan.txt", plan, nil, err)
		}
	}
	from, err := open(ctx, b.Config, b.version, b.log)
	if err != nil {
		return add(err)
	}
	watcher := source.NewWatcher(from.Source, b.Config.NodeName)
	ctx, cancel := context.WithTimeout(ctx, b.patience)
	go watcher.Run(ctx)
	return func() {
		defer cancel()
		if !watcher.WaitForSync(ctx) {
			add(from.unheard(ctx))()
			return
		}
		text, err := objectsText(watcher)
		b.Add("objects.yaml", what, text, err)
		text, err = b.plan(ctx, from, watcher)
		b.Add("plan.txt", plan, text, err)
	}
}

func (b *bundling) plan(ctx context.Context, from opened, watcher *source.Watcher) ([]byte, error) {
	if !b.readable {
		return nil, errors.New("the kernel could not be read")
	}
	facts, err := kernel.Probe(scheduler.KernelNames(), b.by.Netfilter)
	if err != nil {
		return nil, err
	}
	plan, err := dryRun{b.Config, b.by, facts, from, watcher, b.log}.plan(ctx)
	if err != nil {
		return nil, err
	}
	var text strings.Builder
	for _, operation := range plan.Operations {
		fmt.Fprintln(&text, Printable(operation.String()))
	}
	fmt.Fprintln(&text, plan.Summary())
	return []byte(text.String()), nil
}

// objectsText returns the objects as manifests. The watcher keeps of them what is read, and so no annotation of others.
func objectsText(w *source.Watcher) ([]byte, error) {
	var b bytes.Buffer
	add := func(o any) error {
		text, err := yaml.Marshal(o)
		if err == nil {
			b.WriteString("---\n")
			b.Write(text)
		}
		return err
	}
	if node := w.Node(); node != nil {
		own := &v1.Node{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Node"}, ObjectMeta: node.ObjectMeta, Spec: node.Spec,
			Status: v1.NodeStatus{Addresses: node.Status.Addresses, Conditions: node.Status.Conditions},
		}
		if err := add(own); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.SortedFunc(slices.Values(w.Names()), cluster.Name.Compare) {
		s := w.Service(name)
		if s == nil {
			continue
		}
		s.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Service"}
		if err := add(s); err != nil {
			return nil, err
		}
		for _, slice := range w.Slices(name) {
			slice.TypeMeta = metav1.TypeMeta{APIVersion: "discovery.k8s.io/v1", Kind: "EndpointSlice"}
			slice.Namespace, slice.Labels = name.Namespace, map[string]string{discovery.LabelServiceName: name.Name}
			for i := range slice.Endpoints {
				slice.Endpoints[i].TargetRef = nil // a number that is no text
			}
			if err := add(slice); err != nil {
				return nil, err
			}
		}
	}
	return b.Bytes(), nil
}

// Bundle is an archive that MakeBundle wrote, as far as commands read it.
type Bundle struct{ archive bundle.Archive }

// OpenBundle reads the archive of a file.
func OpenBundle(path string) (Bundle, error) {
	f, err := os.Open(path)
	if err != nil {
		return Bundle{}, err
	}
	defer f.Close()
	archive, err := bundle.Read(f, bundleStatus, bundleJournal, bundleKernel)
	if err != nil {
		return Bundle{}, fmt.Errorf("%s: %w", path, err)
	}
	return Bundle{archive}, nil
}

// Made is when the bundle was made.
func (b Bundle) Made() time.Time { return b.archive.Index.Made }

// Status returns what the daemon said when the bundle was made, of the Service alone unless that is "".
func (b Bundle) Status(service string) (s Status, err error) {
	if err := b.decode(bundleStatus, &s); err != nil {
		return Status{}, err
	}
	return s.Only(service), nil
}

// Journal returns the last changes that the daemon had made then, of the Service alone unless that is "".
func (b Bundle) Journal(service string) (j Journal, err error) {
	if err := b.decode(bundleJournal, &j); err != nil {
		return Journal{}, err
	}
	return j.Only(service), nil
}

func (b Bundle) decode(name string, into any) error {
	text, err := b.archive.File(name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s of the archive: %w", name, err)
	}
	return nil
}

// Explain follows a packet through the kernel as it was when the bundle was made.
func (b Bundle) Explain(q Question) (Explanation, error) {
	packet, err := q.packet()
	if err != nil {
		return Explanation{}, err
	}
	text, err := b.archive.File(bundleKernel)
	if err != nil {
		return Explanation{}, err
	}
	k, err := bundle.DecodeKernel(text)
	if err != nil {
		return Explanation{}, err
	}
	connections := func(id dataplane.VirtualServerID) []dataplane.Connections { return k.Connections[id] }
	return explain.Explain(packet, k.Seen, iptables.Words{}, connections), nil
}
