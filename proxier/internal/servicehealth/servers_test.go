package servicehealth_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/internal/testport"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/servicehealth"
)

func web(endpoints int) servicehealth.Service {
	return servicehealth.Service{Name: cluster.Name{Namespace: "shop", Name: "web"}, IPv4: endpoints, IPv6: 7 * endpoints}
}

func get(host string, port uint16) (*http.Response, string, error) {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(fmt.Sprintf("http://%s/any/path", net.JoinHostPort(host, fmt.Sprint(port))))
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	var body map[string]any
	if err := json.NewDecoder(response.Body).Decode(&body); err != nil {
		return nil, "", err
	}
	text, err := json.Marshal(body)
	return response, string(text), err
}

// TestWhatAPortTells (row 121): 200 with endpoints on this node while the proxy is well, else 503; the same words as
// kube-proxy's.
func TestWhatAPortTells(t *testing.T) {
	var healthy atomic.Bool
	healthy.Store(true)
	s := servicehealth.New(servicehealth.Config{
		Healthy: healthy.Load, Report: func(_ servicehealth.Service, _ uint16, err error) { t.Error(err) },
	})
	t.Cleanup(s.Close)
	port := testport.Free(t)
	for _, c := range []struct {
		endpoints int
		healthy   bool
		status    int
		body      string
	}{
		{2, true, 200, `{"localEndpoints":2,"service":{"name":"web","namespace":"shop"},"serviceProxyHealthy":true}`},
		{0, true, 503, `{"localEndpoints":0,"service":{"name":"web","namespace":"shop"},"serviceProxyHealthy":true}`},
		{2, false, 503, `{"localEndpoints":2,"service":{"name":"web","namespace":"shop"},"serviceProxyHealthy":false}`},
		{1, true, 200, `{"localEndpoints":1,"service":{"name":"web","namespace":"shop"},"serviceProxyHealthy":true}`},
	} {
		healthy.Store(c.healthy)
		s.Set(map[uint16]servicehealth.Service{port: web(c.endpoints)})
		response, body, err := get("127.0.0.1", port)
		if err != nil {
			t.Fatal(err)
		}
		if response.StatusCode != c.status || body != c.body ||
			response.Header.Get("X-Load-Balancing-Endpoint-Weight") != fmt.Sprint(c.endpoints) ||
			response.Header.Get("Content-Type") != "application/json" ||
			response.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%d endpoints, healthy %v: %d %s %v", c.endpoints, c.healthy, response.StatusCode, body, response.Header)
		}
	}
	// Over IPv6 the other number is the answer.
	if l, err := net.Listen("tcp", "[::1]:0"); err != nil {
		t.Logf("no IPv6 here: %v", err)
	} else {
		l.Close()
		if response, _, err := get("::1", port); err != nil ||
			response.Header.Get("X-Load-Balancing-Endpoint-Weight") != "7" {
			t.Errorf("by IPv6: %v, %v", response, err)
		}
	}
	// The port of a Service that is gone is closed at once, and another one is open.
	other := testport.Free(t)
	s.Set(map[uint16]servicehealth.Service{other: web(1)})
	if _, _, err := get("127.0.0.1", port); err == nil {
		t.Error("the old port still answers")
	}
	if _, _, err := get("127.0.0.1", other); err != nil {
		t.Error(err)
	}
	s.Close()
	if _, _, err := get("127.0.0.1", other); err == nil {
		t.Error("a port answers after the end")
	}
}

// TestAPortInUse (row 123) is reported once, is tried again, and is no reason not to open the others.
func TestAPortInUse(t *testing.T) {
	port, other := testport.Free(t), testport.Free(t)
	taken, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	reports := make(chan error, 10)
	s := servicehealth.New(servicehealth.Config{Healthy: func() bool { return true },
		Report: func(_ servicehealth.Service, p uint16, err error) {
			if p == port {
				reports <- err
			}
		}})
	t.Cleanup(s.Close)
	both := map[uint16]servicehealth.Service{port: web(1), other: web(1)}
	for range 3 {
		s.Set(both)
	}
	if _, _, err := get("127.0.0.1", other); err != nil {
		t.Error(err)
	}
	if err := <-reports; err == nil || len(reports) != 0 {
		t.Errorf("%v, and %d reports more", err, len(reports))
	}
	// For another Service that is given the port, the failure is reported too.
	next := web(1)
	next.Name.Name = "next"
	both[port] = next
	for range 3 {
		s.Set(both)
	}
	if err := <-reports; err == nil || len(reports) != 0 {
		t.Errorf("the next Service: %v, and %d reports more", err, len(reports))
	}
	taken.Close()
	if err := <-reports; err != nil { // by itself, without another Set
		t.Error(err)
	}
	if response, _, err := get("127.0.0.1", port); err != nil || response.StatusCode != 200 {
		t.Errorf("after the port is free: %v", err)
	}
}

// TestServesLimits: clients get in on addresses where node ports are served, and on loopback ones.
func TestServesLimits(t *testing.T) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	outward := ""
	for _, a := range addrs {
		if ip := a.(*net.IPNet).IP; ip.To4() != nil && !ip.IsLoopback() {
			outward = ip.String()
		}
	}
	var allowed atomic.Bool
	s := servicehealth.New(servicehealth.Config{
		Healthy: func() bool { return true }, Report: func(_ servicehealth.Service, _ uint16, err error) { t.Error(err) },
		Serves: func(addr netip.Addr) bool { return allowed.Load() && addr.String() == outward },
	})
	t.Cleanup(s.Close)
	port := testport.Free(t)
	s.Set(map[uint16]servicehealth.Service{port: web(1)})
	if _, _, err := get("127.0.0.1", port); err != nil {
		t.Error(err)
	}
	if outward == "" {
		t.Log("this machine has no address but loopback ones: the limit itself is tested end to end")
		return
	}
	if _, _, err := get(outward, port); err == nil {
		t.Error("answers on an address where node ports are not served")
	}
	allowed.Store(true)
	if _, _, err := get(outward, port); err != nil {
		t.Error(err)
	}
}

// TestStrangersOnAPort: a client that opens connections without end loses the oldest ones, and load balancers are
// answered.
func TestStrangersOnAPort(t *testing.T) {
	s := servicehealth.New(servicehealth.Config{
		Healthy: func() bool { return true }, Report: func(_ servicehealth.Service, _ uint16, err error) { t.Error(err) },
	})
	t.Cleanup(s.Close)
	port := testport.Free(t)
	s.Set(map[uint16]servicehealth.Service{port: web(1)})
	var first net.Conn
	for i := range 65 {
		stranger, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).Dial("tcp",
			fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		defer stranger.Close()
		if i == 0 {
			first = stranger
		}
	}
	if response, body, err := get("127.0.0.1", port); err != nil || response.StatusCode != 200 {
		t.Errorf("%s %v", body, err)
	}
	if err := first.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the first of 65 connections is still there")
	}
}
