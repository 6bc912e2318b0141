package main

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

// TestFreezeChecksItsArguments before a request is sent.
func TestFreezeChecksItsArguments(t *testing.T) {
	none := filepath.Join(t.TempDir(), "s")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"soon"}, `DURATION "soon" is none; want a number with a unit, such as 30m or 1h30m, or off`},
		{[]string{"30"}, `DURATION "30" is none`},
		{[]string{"0s"}, "DURATION 0s is out of range; allowed is 1s to 24h0m0s"},
		{[]string{"25h"}, "DURATION 25h is out of range"},
		{[]string{"1h", "2h"}, "freeze takes one DURATION, or off"},
		{[]string{"off", "--reason", "x"}, "--reason is for a freeze that begins"},
		{[]string{"--reason", "x"}, "--reason is for a freeze that begins"},
		{[]string{"1h", "--reason", strings.Repeat("x", 201)}, "--reason has 201 bytes; allowed are 200"},
		{[]string{"1h", "-o", "xml"}, "xml"},
	} {
		_, _, err := execute(t, append([]string{"freeze", "--socket", none}, c.args...)...)
		if !errors.As(err, new(usageError)) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want wrong use: %s", c.args, err, c.want)
		}
	}
	for _, args := range [][]string{{"1h"}, {"off"}, {}} {
		_, _, err := execute(t, append([]string{"freeze", "--socket", none}, args...)...)
		if err == nil || errors.As(err, new(usageError)) ||
			!strings.Contains(err.Error(), "no ipvs-proxier answers on "+none) {
			t.Errorf("%q without a daemon: %v", args, err)
		}
	}
}

// TestFreezeAsksTheSocket, and says what is in force then.
func TestFreezeAsksTheSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	asked, answer := "", "{}"
	daemon := &httptest.Server{Listener: l,
		Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			asked = r.Method + " " + r.URL.Path + " " + string(body)
			if answer == "" {
				http.Error(w, "the sync has not ended", http.StatusServiceUnavailable)
				return
			}
			io.WriteString(w, answer)
		})}}
	daemon.Start()
	t.Cleanup(daemon.Close)
	const frozen = `{"frozen":{"since":"2026-11-30T06:00:00Z","until":"2026-11-30T07:00:00Z","reason":"why"}`
	for _, c := range []struct {
		args                []string
		asked, answer, says string
	}{
		{[]string{"1h", "--reason", "why"}, `POST /freeze {"duration":"1h0m0s","reason":"why"}`, frozen + "}",
			"frozen until 2026-11-30T07:00:00Z (why): nothing is written to the kernel\n"},
		{nil, "GET /freeze ", frozen + `,"unkept":"full"}`, "a restart of the daemon would end it: full"},
		{[]string{"off"}, `POST /freeze {"end":true}`, "{}", "not frozen"},
	} {
		answer = c.answer
		out, _, err := execute(t, append([]string{"freeze", "--socket", path}, c.args...)...)
		if err != nil || asked != c.asked || !strings.Contains(out, c.says) {
			t.Errorf("%q: %v, asked %q, says %q", c.args, err, asked, out)
		}
	}
	answer = ""
	if _, _, err := execute(t, "freeze", "1h", "--socket", path); err == nil ||
		!strings.Contains(err.Error(), "the sync has not ended") {
		t.Errorf("a daemon that does not do it: %v", err)
	}
	answer = frozen + "}"
	out, _, err := execute(t, "freeze", "-o", "json", "--socket", path)
	if err != nil || !json.Valid([]byte(out)) || !strings.Contains(out, `"reason": "why"`) {
		t.Errorf("as JSON: %v\n%s", err, out)
	}
}
