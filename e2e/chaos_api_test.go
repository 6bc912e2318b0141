//go:build e2e

package e2e

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	authentication "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
)

// chaosAPI is the API that the proxier under harm follows: by way of a relay, as a service account or by a client
// certificate. Its token, its pair, and its view of the server's authority are files that can be exchanged.
type chaosAPI struct {
	*controlPlane
	relay *harness.Relay
	// token is the proxier's, with the Secret whose end revokes it.
	token, secret string
	tokens        int
	// clients is the authority of client certificates that the server trusts, pair the last one that it has made.
	clients authority
	pair    pair
	// byCertificate says that the proxier's kubeconfig has the pair, and not the token.
	byCertificate bool
	// older is a directory with an earlier copy of etcd's data.
	older string
}

const (
	relayed   = "127.0.0.1:6445"
	apiServer = "127.0.0.1:6443"
	// account is the proxier's ServiceAccount.
	account = "ipvs-proxier"
	// groupLabel names the group of an object, so that what is left of it can be found whatever the server remembers.
	groupLabel = "ipvsp-test-group"
)

// followAPI starts the control plane, and has what is set written to it. It returns the arguments for the proxier.
func (f *fed) followAPI() []string {
	f.t.Helper()
	c := f.cluster
	a := &chaosAPI{controlPlane: c.newControlPlane(c.Node1)}
	config := rest.CopyConfig(a.rest)
	config.QPS = -1 // as many as there are
	var err error
	a.client, err = kubernetes.NewForConfig(config)
	c.must(err)
	a.exchangeCertificate()
	a.file("ca.pem", a.authority())
	a.exchangeClientAuthority()
	a.bringPair(lifeOfPairs)
	a.startEtcd()
	a.startAgain()
	a.awaitServer()
	serviceAccount := &v1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account}}
	_, err = a.client.CoreV1().ServiceAccounts("default").Create(c.t.Context(), serviceAccount, metav1.CreateOptions{})
	c.must(err)
	a.exchangeToken()
	a.relay, err = harness.NewRelay(func() (listener net.Listener, err error) {
		err = c.Node1.Do(func() error { listener, err = net.Listen("tcp", relayed); return err })
		return listener, err
	}, func() (net.Conn, error) { return a.rest.Dial(context.Background(), "tcp", apiServer) })
	c.must(err)
	c.t.Cleanup(a.relay.Close)
	f.api = a
	return []string{"--kubeconfig", a.kubeconfig()}
}

// kubeconfig writes the proxier's, and returns its path.
func (a *chaosAPI) kubeconfig() string {
	a.c.t.Helper()
	user := "tokenFile: " + filepath.Join(a.dir, "token")
	if a.byCertificate {
		user = "client-certificate: " + filepath.Join(a.dir, "client.pem") + ", client-key: " +
			filepath.Join(a.dir, "client.key")
	}
	trust := "certificate-authority: " + filepath.Join(a.dir, "ca.pem")
	return a.file("kubeconfig", kubeconfig("https://"+relayed, trust, user))
}

// startAgain starts kube-apiserver, with the certificate that is in force.
func (a *chaosAPI) startAgain() {
	a.c.t.Helper()
	a.server = a.startServer(6443, "--tls-cert-file", filepath.Join(a.dir, "server.pem"),
		"--tls-private-key-file", filepath.Join(a.dir, "server.key"),
		"--client-ca-file", filepath.Join(a.dir, "client-ca.pem"))
}

// exchangeCertificate gives the server another certificate, by another authority. One that runs takes it up by itself.
func (a *chaosAPI) exchangeCertificate() {
	a.c.t.Helper()
	certificate, key, err := selfSigned()
	a.c.must(err)
	a.file("server.key", key)
	a.file("server.pem", certificate)
}

// authority is the certificate of the authority that has made the server's.
func (a *chaosAPI) authority() string {
	a.c.t.Helper()
	text, err := os.ReadFile(filepath.Join(a.dir, "server.pem"))
	a.c.must(err)
	return string(text)
}

// awaitCertificate waits until the server shows the certificate that was exchanged.
func (a *chaosAPI) awaitCertificate() {
	a.c.t.Helper()
	want := a.authority()
	a.c.must(harness.Await(arrival, func() error {
		conn, err := a.rest.Dial(a.c.t.Context(), "tcp", apiServer)
		if err != nil {
			return err
		}
		defer conn.Close()
		secured := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
		a.c.must(secured.SetDeadline(time.Now().Add(harness.Patiently(10 * time.Second))))
		if err := secured.Handshake(); err != nil {
			return err
		}
		if shown := pemOf(secured.ConnectionState().PeerCertificates[0].Raw); shown != want {
			return errStill("the old certificate")
		}
		return nil
	}))
}

// exchangeToken gives the proxier another token, which ends with its own Secret.
func (a *chaosAPI) exchangeToken() {
	a.c.t.Helper()
	a.tokens++
	a.secret = fmt.Sprintf("token-%d", a.tokens)
	a.try(func(ctx context.Context) error {
		secrets := a.client.CoreV1().Secrets("default")
		secret, err := secrets.Create(ctx, &v1.Secret{ObjectMeta: metav1.ObjectMeta{Name: a.secret}}, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			secret, err = secrets.Get(ctx, a.secret, metav1.GetOptions{})
		}
		if err != nil {
			return err
		}
		asked := authentication.TokenRequestSpec{
			ExpirationSeconds: new(int64(24 * 3600)),
			BoundObjectRef: &authentication.BoundObjectReference{
				Kind: "Secret", APIVersion: "v1", Name: a.secret, UID: secret.UID,
			},
		}
		made, err := a.client.CoreV1().ServiceAccounts("default").CreateToken(ctx, account,
			&authentication.TokenRequest{Spec: asked}, metav1.CreateOptions{})
		if err == nil {
			a.token = made.Status.Token
		}
		return err
	})
	a.file("token", a.token)
}

// revokeToken revokes the proxier's token, and waits until the server refuses it: it remembers for some seconds whom it
// knew.
func (a *chaosAPI) revokeToken() {
	a.c.t.Helper()
	a.try(func(ctx context.Context) error {
		return gone(a.client.CoreV1().Secrets("default").Delete(ctx, a.secret, metav1.DeleteOptions{}))
	})
	config := rest.CopyConfig(a.rest)
	config.BearerToken = a.token
	as, err := kubernetes.NewForConfig(config)
	a.c.must(err)
	a.try(func(ctx context.Context) error {
		_, err := as.CoreV1().Services("default").List(ctx, metav1.ListOptions{Limit: 1})
		switch {
		case apierrors.IsUnauthorized(err):
			return nil
		case err == nil:
			err = errStill("known")
		}
		return err
	})
}

// try does something with the API until it succeeds: the server may just have come back. What the API refuses for
// good is the test's fault.
func (a *chaosAPI) try(do func(context.Context) error) {
	a.c.t.Helper()
	a.c.must(harness.Await(arrival, func() error {
		err := do(a.c.t.Context())
		if apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) {
			return harness.GiveUp(err)
		}
		return err
	}))
}

// gone takes "not found" as done.
func gone(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// set puts the objects of a group, as YAML, in place of those that the API has of it.
func (a *chaosAPI) set(group string, texts ...string) {
	a.c.t.Helper()
	keep := a.put(group, texts...)
	a.try(func(ctx context.Context) error { return a.deleteOthers(ctx, group, keep) })
}

// put writes objects of a group, as YAML, and returns their names.
func (a *chaosAPI) put(group string, texts ...string) (names map[string]bool) {
	a.c.t.Helper()
	names = map[string]bool{}
	for text := range strings.SplitSeq(strings.Join(texts, "---\n"), "---\n") {
		var kind metav1.TypeMeta
		a.c.must(yaml.Unmarshal([]byte(text), &kind))
		switch kind.Kind {
		case "Service":
			s := &v1.Service{}
			a.c.must(yaml.UnmarshalStrict([]byte(text), s))
			names[s.Name] = true
			s.Labels = map[string]string{groupLabel: group}
			a.try(func(ctx context.Context) error { return a.writeService(ctx, admissible(s)) })
		case "EndpointSlice":
			s := &discovery.EndpointSlice{}
			a.c.must(yaml.UnmarshalStrict([]byte(text), s))
			names[s.Name] = true
			s.Labels[groupLabel] = group
			a.try(func(ctx context.Context) error { return a.writeSlice(ctx, s) })
		}
	}
	return names
}

// admissible is the Service as the API takes it: the manifests of the tests leave out, or say, what it would refuse.
func admissible(s *v1.Service) *v1.Service {
	policy := v1.IPFamilyPolicySingleStack
	if len(s.Spec.ClusterIPs) > 1 {
		policy = v1.IPFamilyPolicyRequireDualStack
	}
	s.Spec.IPFamilyPolicy = &policy
	if s.Spec.Type == v1.ServiceTypeClusterIP {
		s.Spec.ExternalTrafficPolicy = ""
	}
	return s
}

func (a *chaosAPI) writeService(ctx context.Context, s *v1.Service) error {
	services := a.client.CoreV1().Services(s.Namespace)
	have, err := services.Get(ctx, s.Name, metav1.GetOptions{})
	wanted := s.DeepCopy()
	switch {
	case apierrors.IsNotFound(err):
		have, err = services.Create(ctx, wanted, metav1.CreateOptions{})
	case err == nil:
		wanted.ResourceVersion = have.ResourceVersion
		have, err = services.Update(ctx, wanted, metav1.UpdateOptions{})
	}
	if err != nil || len(s.Status.LoadBalancer.Ingress) == 0 {
		return err
	}
	have.Status = s.Status
	_, err = services.UpdateStatus(ctx, have, metav1.UpdateOptions{})
	return err
}

func (a *chaosAPI) writeSlice(ctx context.Context, s *discovery.EndpointSlice) error {
	slices := a.client.DiscoveryV1().EndpointSlices(s.Namespace)
	have, err := slices.Get(ctx, s.Name, metav1.GetOptions{})
	wanted := s.DeepCopy()
	switch {
	case apierrors.IsNotFound(err):
		_, err = slices.Create(ctx, wanted, metav1.CreateOptions{})
	case err == nil:
		wanted.ResourceVersion = have.ResourceVersion
		_, err = slices.Update(ctx, wanted, metav1.UpdateOptions{})
	}
	return err
}

func (a *chaosAPI) deleteOthers(ctx context.Context, group string, keep map[string]bool) error {
	services, slices := a.client.CoreV1().Services("default"), a.client.DiscoveryV1().EndpointSlices("default")
	of := metav1.ListOptions{LabelSelector: groupLabel + "=" + group}
	haveSlices, err := slices.List(ctx, of)
	if err != nil {
		return err
	}
	haveServices, err := services.List(ctx, of)
	if err != nil {
		return err
	}
	var failed []error
	for _, s := range haveSlices.Items {
		if !keep[s.Name] {
			failed = append(failed, gone(slices.Delete(ctx, s.Name, metav1.DeleteOptions{})))
		}
	}
	for _, s := range haveServices.Items {
		if !keep[s.Name] {
			failed = append(failed, gone(services.Delete(ctx, s.Name, metav1.DeleteOptions{})))
		}
	}
	return errors.Join(failed...)
}

// copyData keeps a copy of etcd's data as it is now: etcd stands still meanwhile.
func (a *chaosAPI) copyData() {
	a.c.t.Helper()
	a.older = filepath.Join(a.dir, "older")
	a.c.must(os.RemoveAll(a.older))
	a.c.must(syscall.Kill(a.etcd.PID(), syscall.SIGSTOP))
	defer func() { a.c.must(syscall.Kill(a.etcd.PID(), syscall.SIGCONT)) }()
	a.c.must(os.CopyFS(a.older, os.DirFS(a.etcdData())))
}

// restoreData starts etcd and the server on the copy that was kept. Connections are refused meanwhile: that has a
// client go on after what it has seen, where a reset would have it list anew. With beyond, others have written by then
// until the copy's revision is above that of the data.
func (a *chaosAPI) restoreData(beyond bool) {
	a.c.t.Helper()
	lost := a.revision()
	a.relay.Refuse()
	a.server.Kill()
	a.etcd.Kill()
	a.c.must(os.RemoveAll(a.etcdData()))
	a.c.must(os.Rename(a.older, a.etcdData()))
	a.startEtcd()
	a.startAgain()
	a.awaitServer()
	for beyond && a.revision() <= lost {
		a.try(func(ctx context.Context) error {
			made := &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "other-"}}
			_, err := a.client.CoreV1().ConfigMaps("default").Create(ctx, made, metav1.CreateOptions{})
			return err
		})
	}
	a.c.must(a.relay.Listen())
}

// revision is the one of the data.
func (a *chaosAPI) revision() (reached int) {
	a.c.t.Helper()
	a.try(func(ctx context.Context) error {
		list, err := a.client.CoreV1().Services("").List(ctx, metav1.ListOptions{Limit: 1})
		if err == nil {
			reached, err = strconv.Atoi(list.ResourceVersion)
		}
		return err
	})
	return reached
}

// apiHarms are what befalls API servers, beside harms, where the proxier follows one.
var apiHarms = []harm{
	{name: "API server killed", weight: 2, do: (*chaos).killServer, expect: staysThenArrives},
	{name: "API server ended", weight: 2, do: (*chaos).endServer, expect: staysThenArrives},
	{name: "API server slow", weight: 2, do: (*chaos).slowServer, expect: "changes arrive under it"},
	{name: "API server silent", weight: 2, do: (*chaos).silentServer, expect: staysThenArrives},
	{name: "API connections reset", weight: 2, do: (*chaos).resetConnections, expect: staysThenArrives},
	{name: "older copy of etcd's data", weight: 1, do: func(c *chaos) { c.olderData(false) }, expect: followsThenArrives},
	{name: "older copy that others wrote to", weight: 1, do: func(c *chaos) { c.olderData(true) }, expect: followsThenArrives},
	{name: "token exchanged", weight: 2, do: (*chaos).otherToken, expect: staysThenArrives},
	{name: "certificate exchanged", weight: 1, do: (*chaos).otherCertificate, expect: staysThenArrives},
	{name: "client certificate exchanged", weight: 1, do: (*chaos).otherPair, expect: staysThenArrives},
}

const (
	staysThenArrives   = "the dataplane stays as it is; changes arrive after it"
	followsThenArrives = "the kernel follows it; changes arrive"
)

// staysAsItIs does harm by which nothing that is wanted arrives, for up to the time given, and compares. The proxier is
// killed meanwhile now and then, and starts without an API.
func (c *chaos) staysAsItIs(most time.Duration, begin, end func()) {
	c.t.Helper()
	before := c.atRest()
	begin()
	if c.r.IntN(3) == 0 {
		c.proxier.Kill()
		c.start(c.args...)
	}
	time.Sleep(time.Duration(c.r.Int64N(int64(most)))) // how long the harm lasts
	after := c.sorted()
	for _, line := range without(before, after) {
		c.t.Errorf("%s: gone from the kernel: %s", c.doing, line)
	}
	for _, line := range without(after, before) {
		c.t.Errorf("%s: come into the kernel: %s", c.doing, line)
	}
	end()
	c.changeArrives()
}

// atRest waits until all changes have arrived and the kernel stays the same over two audits, which repair what drifted,
// and returns what it has.
func (c *chaos) atRest() (lines []string) {
	c.t.Helper()
	c.changeArrives()
	c.must(c.proxier.AwaitReady())
	began := time.Now()
	defer func() {
		if took := time.Since(began); took > 20*time.Second {
			c.t.Logf("at rest after %s", took.Round(time.Second))
		}
	}()
	c.must(harness.Await(arrival, func() error {
		before := c.sorted()
		c.awaitAudits(2)
		lines = c.sorted()
		if changed := append(without(lines, before), without(before, lines)...); len(changed) > 0 {
			return errStill(strings.Join(changed, "\n"))
		}
		return nil
	}))
	return lines
}

// killServer kills the server, and etcd now and then, and starts them again after a while.
func (c *chaos) killServer() {
	etcd := c.r.IntN(3) == 0
	c.withoutServer(20*time.Second, func() {
		c.api.server.Kill()
		if etcd {
			c.api.etcd.Kill()
		}
	}, func() {
		if etcd {
			c.api.startEtcd()
		}
		c.api.startAgain()
	})
}

// endServer ends the server as a kubelet does, and starts it again.
func (c *chaos) endServer() {
	c.withoutServer(10*time.Second, func() {
		if err := c.api.server.Signal(syscall.SIGTERM); err != nil {
			c.t.Logf("kube-apiserver ended by SIGTERM: %v", err) // not what is tested
		}
	}, c.api.startAgain)
}

// withoutServer has the server end and start. Until it is ready, connections are refused, as by the host, or reset, as
// by what stands before the server.
func (c *chaos) withoutServer(most time.Duration, end, start func()) {
	refuse := c.r.IntN(2) == 0
	c.staysAsItIs(most, func() {
		end()
		if refuse {
			c.api.relay.Refuse()
		}
	}, func() {
		start()
		c.api.awaitServer()
		if refuse {
			c.must(c.api.relay.Listen())
		}
	})
}

// slowServer lets each answer be late while changes arrive, and perhaps a start reads all.
func (c *chaos) slowServer() {
	c.api.relay.Slow(time.Duration(200+c.r.IntN(2800)) * time.Millisecond)
	defer c.api.relay.Slow(0)
	if c.r.IntN(3) == 0 {
		c.proxier.Kill()
		c.start(c.args...)
	}
	c.set("others", others(c.r, c.one, c.two)...)
	c.changeArrives()
}

// silentServer lets the server say nothing more, on watches that are open and on new connections, while changes are
// made. Then connections that are there go on, or never do.
func (c *chaos) silentServer() {
	end := c.api.relay.Resume
	if c.r.IntN(2) == 0 {
		end = c.api.relay.Abandon
	}
	c.staysAsItIs(90*time.Second, func() {
		c.api.relay.Silence()
		c.set("others", others(c.r, c.one, c.two)...)
	}, end)
}

// resetConnections resets what is open and what is opened, while changes are made.
func (c *chaos) resetConnections() {
	c.staysAsItIs(15*time.Second, func() {
		c.api.relay.Reset()
		c.set("others", others(c.r, c.one, c.two)...)
	}, c.api.relay.Accept)
}

// olderData starts etcd with an older copy of its data: what was written since has never been. With beyond, others
// write to that copy before the proxier hears of it.
func (c *chaos) olderData(beyond bool) {
	c.changeArrives()
	c.api.copyData()
	then := c.marks
	c.set("others", others(c.r, c.one, c.two)...)
	for range 1 + c.r.IntN(3) {
		c.changeArrives()
	}
	lost := c.marks
	c.api.restoreData(beyond)
	c.awaitMark(then)
	c.await(func() error {
		v, err := c.kernel.VirtualServer("tcp", markAt(lost))
		if err == nil && v != nil {
			err = errStill("what the older data does not have")
		}
		return err
	})
	c.set("others", others(c.r, c.one, c.two)...)
	c.changeArrives()
}

// otherToken revokes the proxier's token, and brings another one a while later.
func (c *chaos) otherToken() {
	c.authenticate(false)
	c.staysAsItIs(20*time.Second, func() {
		c.api.revokeToken()
		c.api.relay.Cut() // a new connection has to authenticate
		c.set("others", others(c.r, c.one, c.two)...)
	}, c.api.exchangeToken)
}

// otherCertificate gives the server a certificate of another authority, and the proxier that authority a while later.
// Now and then the proxier is started again with it.
func (c *chaos) otherCertificate() {
	again := c.r.IntN(2) == 0
	c.staysAsItIs(20*time.Second, func() {
		c.api.exchangeCertificate()
		c.api.awaitCertificate()
		c.api.relay.Cut()
		c.set("others", others(c.r, c.one, c.two)...)
	}, func() {
		c.api.file("ca.pem", c.api.authority())
		if again {
			c.end()
		}
	})
}
