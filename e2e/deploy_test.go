//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	authv1 "k8s.io/api/authentication/v1"
	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/ipvs-proxier/ipvs-proxier/e2e/harness"
)

// collections are where the kinds of deploy/ are created; NS is the namespace.
var collections = map[string]string{
	"Namespace":          "/api/v1/namespaces",
	"ServiceAccount":     "/api/v1/namespaces/NS/serviceaccounts",
	"ConfigMap":          "/api/v1/namespaces/NS/configmaps",
	"Service":            "/api/v1/namespaces/NS/services",
	"ClusterRole":        "/apis/rbac.authorization.k8s.io/v1/clusterroles",
	"ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
	"DaemonSet":          "/apis/apps/v1/namespaces/NS/daemonsets",
	"Deployment":         "/apis/apps/v1/namespaces/NS/deployments",
	"Job":                "/apis/batch/v1/namespaces/NS/jobs",

	"ValidatingAdmissionPolicy":        "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
	"ValidatingAdmissionPolicyBinding": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
}

// deployed creates what is in a file of deploy/, with every field checked, and hands each object out as JSON.
func (c *cluster) deployed(client kubernetes.Interface, path string, each func(kind string, object []byte)) {
	c.t.Helper()
	text, err := os.ReadFile(path)
	c.must(err)
	for _, document := range strings.Split(string(text), "\n---\n") {
		object, err := yaml.YAMLToJSONStrict([]byte(document))
		c.must(err)
		if string(object) == "null" { // only a comment
			continue
		}
		var head metav1.PartialObjectMetadata
		c.must(json.Unmarshal(object, &head))
		err = client.CoreV1().RESTClient().Post().AbsPath(strings.Replace(collections[head.Kind], "NS", head.Namespace,
			1)).Param("fieldValidation", "Strict").
			SetHeader("Content-Type", "application/json").Body(object).Do(c.t.Context()).Error()
		if err != nil {
			c.t.Fatalf("%s: %s is not accepted: %v", path, head.Kind, err)
		}
		each(head.Kind, object)
	}
}

// capabilitiesOf are those that a container has, by the kernel's names.
func capabilitiesOf(container v1.Container) (names []string) {
	for _, name := range container.SecurityContext.Capabilities.Add {
		names = append(names, "CAP_"+string(name))
	}
	return names
}

// TestDeployment takes deploy/ipvs-proxier.yaml to a real API server that checks every field, and runs the program as
// the DaemonSet does: with its arguments, its configuration, its capabilities and exactly its permissions.
func TestDeployment(t *testing.T) {
	c := newCluster(t)
	ctx := t.Context()
	_, client, _ := c.startAPIServer(c.Node1, "RBAC")
	var config v1.ConfigMap
	var daemons appsv1.DaemonSet
	c.deployed(client, "deploy/ipvs-proxier.yaml", func(kind string, object []byte) {
		switch kind {
		case "ConfigMap":
			c.must(json.Unmarshal(object, &config))
		case "DaemonSet":
			c.must(json.Unmarshal(object, &daemons))
		}
	})
	c.loadDeployed(client)
	token, err := client.CoreV1().ServiceAccounts("ipvs-proxier").CreateToken(ctx, "ipvs-proxier", &authv1.TokenRequest{},
		metav1.CreateOptions{})
	c.must(err)
	c.readyNode(client, "node1")

	container := daemons.Spec.Template.Spec.Containers[0]
	capabilities := capabilitiesOf(container)
	// So every end-to-end test says what holds in the container.
	if !slices.Equal(capabilities, harness.Capabilities) {
		t.Errorf("the container has %v; all other tests run the program with %v", capabilities, harness.Capabilities)
	}
	if profile := container.SecurityContext.SeccompProfile; profile == nil ||
		profile.Type != v1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("the container's seccomp profile is %v; all tests run the program with the engine's default", profile)
	}
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		c.must(os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	kubeconfig := file("kubeconfig", kubeconfigFor(token.Status.Token))
	start := func(config string) *harness.Process {
		t.Helper()
		args := []string{"-capabilities", strings.Join(capabilities, ","), programs.Path("ipvs-proxier")}
		for _, arg := range container.Args {
			arg = strings.ReplaceAll(arg, "/etc/ipvs-proxier/config.yaml", file("config.yaml", config))
			args = append(args, strings.ReplaceAll(arg, "$(NODE_NAME)", "node1"))
		}
		p, err := harness.Start(c.Node1, programs.Path("confined"), append(args, "--kubeconfig", kubeconfig)...)
		c.must(err)
		t.Cleanup(func() {
			p.Kill()
			if t.Failed() {
				t.Logf("log of the proxier:\n%s", p.Output())
			}
		})
		return p
	}
	says := func(p *harness.Process, words string) {
		t.Helper()
		c.await(func() error {
			if !strings.Contains(p.Output(), words) {
				return fmt.Errorf("the log does not say %q", words)
			}
			return nil
		})
	}
	// As it comes it says what is left to be written.
	says(start(config.Data["config.yaml"]), "placeholder")
	filled := regexp.MustCompile(`https://REPLACE\S*`).ReplaceAllString(config.Data["config.yaml"],
		"https://127.0.0.1:6443")
	p := start(filled)
	pod := c.pod(1, 50, "client")
	dual := v1.IPFamilyPolicyRequireDualStack
	s := web(scheduled("fastest"), func(s *v1.Service) { s.Spec.IPFamilyPolicy = &dual })
	_, err = client.CoreV1().Services("default").Create(ctx, s, metav1.CreateOptions{})
	c.must(err)
	for _, slice := range endpointSlices(web(), c.backend(1, 10, "one")) {
		_, err := client.DiscoveryV1().EndpointSlices("default").Create(ctx, slice, metav1.CreateOptions{})
		c.must(err)
	}
	c.await(func() error { _, err := harness.Ask(pod, "tcp", web4); return err })
	// Events report to users the mistake and its end.
	event := func(kind, reason, words string) {
		t.Helper()
		c.await(func() error {
			all, err := client.EventsV1().Events("").List(ctx, metav1.ListOptions{})
			if err != nil {
				return err
			}
			for _, e := range all.Items {
				if e.Regarding.Kind == kind && e.Reason == reason && strings.Contains(e.Note, words) &&
					e.ReportingController == "ipvs-proxier" {
					return nil
				}
			}
			return fmt.Errorf("no Event %s about a %s among %d", reason, kind, len(all.Items))
		})
	}
	event("Node", "Starting", "ipvs-proxier")
	event("Service", "InvalidAnnotation", "fastest")
	s, err = client.CoreV1().Services("default").Get(ctx, "web", metav1.GetOptions{})
	c.must(err)
	s.Annotations["ipvs-proxier.io/scheduler"] = "lc"
	_, err = client.CoreV1().Services("default").Update(ctx, s, metav1.UpdateOptions{})
	c.must(err)
	event("Service", "Recovered", "")

	metrics, err := client.CoreV1().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	c.must(err)
	if denied := regexp.MustCompile(`(?m)^apiserver_request_total\{code="403".*$`).FindAllString(
		string(metrics), -1,
	); len(denied) > 0 {
		t.Errorf("the API server has denied requests: %q", denied)
	}
	if strings.Contains(p.Output(), "level=ERROR") {
		t.Error("the proxier logs errors")
	}
	p.Kill()

	// The chart's pods that clean up leave nothing, and stay.
	var cleaning appsv1.DaemonSet
	for _, o := range c.objectsOf(filepath.Join(programs.Path("charts"), "cleanup.yaml")) {
		if o.Kind == "DaemonSet" {
			c.must(json.Unmarshal(o.text, &cleaning))
		}
	}
	first := cleaning.Spec.Template.Spec.InitContainers[0]
	// These values have a link of another name.
	args := append([]string{"-capabilities", strings.Join(capabilitiesOf(first), ","), programs.Path("ipvs-proxier")},
		slices.DeleteFunc(first.Args, func(arg string) bool { return strings.HasPrefix(arg, "--link=") })...)
	output, err := c.Node1.Run(programs.Path("confined"), args...)
	if err != nil || !strings.Contains(output, "objects removed") {
		t.Errorf("the pod that cleans up: %v\n%s", err, output)
	}
	if left, err := c.Node1.Run("ipvsadm", "-Sn"); err != nil || left != "" || strings.Contains(c.dataplane(), "IPVSP-") {
		t.Errorf("the pod that cleans up left %q, %v", left, err)
	}

	// A permission that is missing is named.
	role, err := client.RbacV1().ClusterRoles().Get(ctx, "ipvs-proxier", metav1.GetOptions{})
	c.must(err)
	for i := range role.Rules {
		if role.Rules[i].Resources[0] == "endpointslices" {
			role.Rules = append(role.Rules[:i], role.Rules[i+1:]...)
			break
		}
	}
	_, err = client.RbacV1().ClusterRoles().Update(ctx, role, metav1.UpdateOptions{})
	c.must(err)
	says(start(filled), "refuses to list or watch endpointslices: Forbidden")
}

// loadDeployed takes deploy/ipvs-load.yaml to the API server, and runs its server and its Job as they say: without a
// single privilege.
func (c *cluster) loadDeployed(client kubernetes.Interface) {
	c.t.Helper()
	var server appsv1.Deployment
	var job batchv1.Job
	var service v1.Service
	c.deployed(client, "deploy/ipvs-load.yaml", func(kind string, object []byte) {
		switch kind {
		case "Deployment":
			c.must(json.Unmarshal(object, &server))
		case "Job":
			c.must(json.Unmarshal(object, &job))
		case "Service":
			c.must(json.Unmarshal(object, &service))
		}
	})
	// The program may lie where that user must not look.
	program := filepath.Join(c.t.TempDir(), "ipvs-load")
	binary, err := os.ReadFile(programs.Path("ipvs-load"))
	c.must(err)
	c.must(os.WriteFile(program, binary, 0o755))
	for dir := filepath.Dir(program); dir != "/"; dir = filepath.Dir(dir) {
		c.must(os.Chmod(dir, 0o777))
	}
	backend := c.pod(1, 30, "load-server")
	arguments := func(container v1.Container, values map[string]string) []string {
		user := fmt.Sprint(*container.SecurityContext.RunAsUser)
		args := []string{
			"--reuid", user, "--regid", user, "--clear-groups", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs",
			program,
		}
		for _, arg := range container.Args {
			for name, value := range values {
				arg = strings.ReplaceAll(arg, "$("+name+")", value)
			}
			args = append(args, arg)
		}
		return args
	}
	p, err := harness.Start(backend, "setpriv", arguments(server.Spec.Template.Spec.Containers[0],
		map[string]string{"POD_NAME": "ipvs-load-server-1"})...)
	c.must(err)
	c.t.Cleanup(p.Kill)
	c.await(func() error { _, err := harness.Ask(backend, "tcp", at(backend.IPv4, 8080)); return err })
	// The endpoint itself in the place of the Service, and fewer requests: what is tried is the Job, not the proxy.
	args := arguments(job.Spec.Template.Spec.Containers[0],
		map[string]string{"IPVS_LOAD_SERVICE_HOST": backend.IPv4.String()})
	args = append(args[:len(args)-1], strings.Replace(args[len(args)-1], ":80", ":8080", 1), "--rate", "10", "--duration",
		"1s", "--warmup", "0s")
	output, err := c.pod(1, 31, "load-client").Run("setpriv", args...)
	if err != nil || !strings.Contains(output, "10 answered, 0 errors") ||
		!strings.Contains(output, "ipvs-load-server-1") {
		c.t.Errorf("the Job: %v\n%s", err, output)
	}
	if service.Spec.Ports[0].TargetPort.IntValue() != 8080 ||
		!maps.Equal(service.Spec.Selector, server.Spec.Template.Labels) {
		c.t.Errorf("the Service does not lead to its servers: %+v", service.Spec)
	}
}
