package nodefacts

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/nodecheck"
)

// apiServer answers as an API server whose clock is an hour slow. It has the Node n1, and forbids to watch Nodes.
func apiServer(t *testing.T, status int) (url string, written *[]string) {
	t.Helper()
	written = &[]string{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
		if status != http.StatusOK {
			w.WriteHeader(status)
			return
		}
		if r.Method != http.MethodGet {
			*written = append(*written, r.URL.Path)
		}
		switch r.URL.Path {
		case "/readyz":
		case "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews":
			var asked review
			if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
				t.Error(err)
			}
			of := asked.Spec.ResourceAttributes
			fmt.Fprintf(w, `{"status": {"allowed": %v}}`, !(of.Resource == "nodes" && of.Verb == "watch"))
		case "/api/v1/nodes":
			items := ""
			if r.URL.Query().Get("fieldSelector") == "metadata.name=n1" {
				items = "{}"
			}
			fmt.Fprintf(w, `{"items": [%s]}`, items)
		case "/api/v1/services":
			if r.URL.Query().Get("continue") == "" {
				fmt.Fprint(w, `{"metadata": {"continue": "more"}, "items": [{"metadata": {"namespace": "default", "name": "kubernetes"}, "spec": {"clusterIPs": ["10.96.0.1"]}}]}`)
			} else {
				fmt.Fprint(w, `{"items": [{"metadata": {"name": "web"}, "spec": {"ports": [{"nodePort": 30080}, {"port": 80}]}}]}`)
			}
		default:
			t.Errorf("a request for %s", r.URL)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL, written
}

func TestAPI(t *testing.T) {
	good, written := apiServer(t, http.StatusOK)
	unknown, _ := apiServer(t, http.StatusUnauthorized)
	broken, _ := apiServer(t, http.StatusInternalServerError)
	const nobody = "http://127.0.0.1:1"
	for name, node := range map[string]string{"the Node": "n1", "another": "n2"} {
		var f nodecheck.Facts
		API(t.Context(), &f, &rest.Config{Host: good}, []string{nobody, broken, unknown, good}, node)
		var servers []string
		for _, s := range f.Servers {
			servers = append(servers, fmt.Sprint(s.Err != "", s.Status, s.Answers()))
		}
		if diff := cmp.Diff([]string{
			"true 0 false", "true 500 false", "false 401 false", "false 200 true",
		}, servers); diff != "" {
			t.Errorf("%s: servers (-want +got):\n%s", name, diff)
		}
		if ahead := f.Servers[3].Ahead; !ahead.Known() || (ahead.Value+time.Hour).Abs() > 3*time.Second {
			t.Errorf("%s: its clock is %+v ahead, want an hour behind", name, ahead)
		}
		if !f.Node.Known() || f.Node.Value != (node == "n1") {
			t.Errorf("%s: %+v", name, f.Node)
		}
		if diff := cmp.Diff([]uint16{30080}, f.NodePorts.Value); diff != "" {
			t.Error(diff)
		}
		if len(f.KubernetesIPs) != 1 || f.KubernetesIPs[0] != netip.MustParseAddr("10.96.0.1") {
			t.Errorf("%v", f.KubernetesIPs)
		}
		for _, p := range nodecheck.Permissions {
			if allowed := f.Access[p]; !allowed.Known() || allowed.Value == (p.String() == "watch nodes") {
				t.Errorf("%s: %+v", p, allowed)
			}
		}
	}
	for _, path := range *written {
		if !strings.HasSuffix(path, "/selfsubjectaccessreviews") {
			t.Errorf("it has written to %s", path)
		}
	}
	var f nodecheck.Facts
	API(t.Context(), &f, &rest.Config{}, []string{nobody}, "n1")
	if f.Node.Known() || f.NodePorts.Known() || f.Access != nil {
		t.Errorf("without a server it knows %+v", f)
	}
}
