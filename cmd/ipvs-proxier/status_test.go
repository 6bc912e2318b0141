package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier"
)

// TestStatusShowsWhatIsAskedFor: names, namespaces, problems, and a server with or without a scheme. Wrong use is
// reported before a request is sent.
func TestStatusShowsWhatIsAskedFor(t *testing.T) {
	good := []proxier.FrontEndStatus{{Programmed: true}}
	all := []proxier.ServiceStatus{
		{Namespace: "default", Name: "web", FrontEnds: good},
		{Namespace: "shop", Name: "cart", FrontEnds: good, Problems: []proxier.ProblemStatus{{Reason: "UnknownValue"}}},
		{Namespace: "shop", Name: "pay", FrontEnds: []proxier.FrontEndStatus{{}}},
	}
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		s := proxier.Status{Healthy: true, Services: []proxier.ServiceStatus{}}
		for _, service := range all {
			if only := r.URL.Query().Get("service"); only == "" || only == service.Namespace+"/"+service.Name {
				s.Services = append(s.Services, service)
			}
		}
		_ = json.NewEncoder(w).Encode(s)
	}))
	defer server.Close()
	address := strings.TrimPrefix(server.URL, "http://")
	for name, c := range map[string]struct {
		args []string
		want string // names of the Services
		err  string
	}{
		"all":                        {nil, "web cart pay", ""},
		"one":                        {[]string{"shop/cart"}, "cart", ""},
		"a namespace":                {[]string{"-n", "shop"}, "cart pay", ""},
		"one of a namespace":         {[]string{"-n", "shop", "pay"}, "pay", ""},
		"what is wrong":              {[]string{"--problems"}, "cart pay", ""},
		"what is wrong of a good":    {[]string{"--problems", "default/web"}, "", ""},
		"the server as a URL":        {[]string{"--server", "http://" + address + "/"}, "web cart pay", ""},
		"one that is not there":      {[]string{"shop/none"}, "", "no Service shop/none"},
		"a name alone":               {[]string{"web"}, "", "did you mean default/web?"},
		"two namespaces":             {[]string{"-n", "shop", "default/web"}, "", "want one of them"},
		"too many slashes":           {[]string{"a/b/c"}, "", "not NAMESPACE/NAME"},
		"an output that there isn't": {[]string{"-o", "jsn"}, "", "allowed are table, wide, name, json, yaml"},
		"TLS":                        {[]string{"--server", "https://" + address}, "", "HTTP without TLS"},
		"a server that is a path":    {[]string{"--server", "/run/s"}, "", "--socket takes a path"},
		"two daemons":                {[]string{"--socket", "/run/s"}, "", "want one of them"},
	} {
		t.Run(name, func(t *testing.T) {
			before := asked
			var out bytes.Buffer
			command := statusCommand()
			command.SilenceErrors, command.SilenceUsage = true, true
			command.SetOut(&out)
			command.SetArgs(append([]string{"--server", address, "-o", "json"}, c.args...))
			err := command.ExecuteContext(t.Context())
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Fatalf("want the error %q, got %v", c.err, err)
			}
			var wrong usageError
			if used := c.err != "" && !strings.HasPrefix(c.err, "no Service"); used != errors.As(err, &wrong) ||
				used && asked != before {
				t.Errorf("%v: a wrong use is %t; the daemon was asked %d times", err, used, asked-before)
			}
			var s proxier.Status
			if out.Len() > 0 {
				if err := json.Unmarshal(out.Bytes(), &s); err != nil {
					t.Fatal(err)
				}
			}
			var got []string
			for _, service := range s.Services {
				got = append(got, service.Name)
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("want %q, got %q", c.want, got)
			}
		})
	}
}

// TestWatchGoesOn: it is shown again at each tick, also after a failure, until the context ends.
func TestWatchGoesOn(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	tick := make(chan time.Time, 2)
	tick <- time.Time{}
	tick <- time.Time{}
	var out strings.Builder
	n := 0
	err := watchStatus(ctx, plain(&out), tick, func(_ context.Context, w screen) error {
		if n++; n == 3 {
			cancel()
		}
		fmt.Fprintf(w, "page %d\n", n)
		if n == 2 {
			return errors.New("no ipvs-proxier answers")
		}
		return nil
	})
	const clear = "\x1b[H\x1b[2J"
	if want := clear + "page 1\n" + clear + "page 2\n\nno ipvs-proxier answers\n" + clear + "page 3\n"; err != nil ||
		out.String() != want {
		t.Errorf("%v, %q, want %q", err, out.String(), want)
	}
}
