package main

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
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
		"--metrics-bind-address", "", "--healthz-bind-address", "", "--state-dir", "", "--timeout", "1s"}
	if _, errs, err := execute(t, bundle...); err != nil || strings.Contains(errs, "status.json") ||
		strings.Contains(errs, "readyz.txt") {
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

// TestJournalOfADeadDaemon is read from what it has kept, with a note, and not where another daemon was asked for.
func TestJournalOfADeadDaemon(t *testing.T) {
	dir := t.TempDir()
	kept := `{"program":"ipvs-proxier journal","format":1}
{"start":{"time":"2026-11-29T20:00:00Z","node":"n1","version":"v1"}}
{"entry":{"time":"2026-11-29T20:00:01Z","namespace":"shop","name":"web","services":1,"cause":"change","count":1}}
{"start":{"time":"2026-11-29T20:01:00Z","node":"n1","version":"v1"}}
{"entry":{"time":"2026-11-29T20:01:01Z","namespace":"shop","name":"pay","services":1,"cause":"change","count":1}}
`
	file := filepath.Join(dir, "journal.jsonl")
	if err := os.WriteFile(file, []byte(kept), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"journal", "--socket", filepath.Join(dir, "s"), "--state-dir", dir}
	out, errs, err := execute(t, args...)
	web, line, pay := strings.Index(out, "shop/web"), strings.Index(out, "before the last start"), strings.Index(out,
		"shop/pay")
	if err != nil || web < 0 || line < web || pay < line || !strings.Contains(errs, "This is what it has kept in "+dir) {
		t.Errorf("%v\n%s%s", err, errs, out)
	}
	if out, _, err = execute(t, append(args, "shop/pay")...); err != nil || strings.Contains(out, "shop/web") {
		t.Errorf("of one Service: %v\n%s", err, out)
	}
	if _, _, err = execute(t, "journal", "--server", "127.0.0.1:1", "--state-dir", dir); err == nil {
		t.Error("--server reads a file")
	}
	if err := os.WriteFile(file, []byte("no journal\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err = execute(t, args...); err == nil || !strings.Contains(err.Error(), "there is no such socket") ||
		!strings.Contains(err.Error(), "is no journal of ipvs-proxier") {
		t.Errorf("with another file: %v", err)
	}
}
