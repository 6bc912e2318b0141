package main

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier"
)

// TestCommandsAskTheSocket: status, journal and bundle find the daemon on its socket, with all its ports off. What is
// wrong with the socket is said in words.
func TestCommandsAskTheSocket(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	daemon := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/status":
			_ = json.NewEncoder(w).Encode(proxier.Status{Node: "n1", Healthy: true, Services: []proxier.ServiceStatus{}})
		case "/journal":
			_ = json.NewEncoder(w).Encode(lastChanges(time.Now()))
		}
	}))
	daemon.Listener.Close()
	daemon.Listener = l
	daemon.Start()
	if out, _, err := execute(t, "status", "--socket", path, "-o", "json"); err != nil || !strings.Contains(out, `"n1"`) {
		t.Errorf("status: %v\n%s", err, out)
	}
	if out, _, err := execute(t, "journal", "--socket", path); err != nil || !strings.Contains(out, "shop/web") {
		t.Errorf("journal: %v\n%s", err, out)
	}
	bundle := []string{"bundle", filepath.Join(dir, "b.tar.gz"), "--manifests", dir, "--node-name", "n1", "--socket", path,
		"--metrics-bind-address", "", "--healthz-bind-address", "", "--timeout", "1s"}
	if _, errs, err := execute(t, bundle...); err != nil || strings.Contains(errs, "status.json") || strings.Contains(errs, "readyz.txt") {
		t.Errorf("bundle: %v\n%s", err, errs)
	}
	daemon.Close()
	_, _, err = execute(t, "status", "--socket", path)
	if err == nil || !strings.Contains(err.Error(), "no ipvs-proxier answers on "+path+": there is no such socket (") {
		t.Errorf("without a daemon: %v", err)
	}
	if _, _, err := execute(t, "status", "--socket", "s"); !errors.As(err, new(usageError)) {
		t.Errorf("a relative path: %v, want wrong use", err)
	}
}
