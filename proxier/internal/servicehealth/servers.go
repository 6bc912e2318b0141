// Package servicehealth serves the healthCheckNodePorts of Services: there a load balancer asks whether this node has
// endpoints of its own for a Service whose externalTrafficPolicy is Local.
package servicehealth

import (
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/edge"
)

// The caps of connections. Each port belongs to one Service, which load balancers ask from a handful of addresses each
// few seconds; all ports together must not take the process's memory and file handles, however many Services there are.
const (
	portConnections = 64
	allConnections  = 1024
)

// retry is the delay before a port that could not be opened is tried again.
const retry = 5 * time.Second

// Service is what one port answers.
type Service struct {
	Name cluster.Name
	UID  string
	// IPv4 and IPv6 are the numbers of addresses of ready endpoints on this node. A request over a family gets that
	// family's number, as from kube-proxy's servers for each family.
	IPv4, IPv6 int
}

// Config is what Servers need from outside.
type Config struct {
	// Serves says whether clients may ask on an address of the node; nil is all of them.
	Serves func(netip.Addr) bool
	// Healthy says whether the proxy itself is well: load balancers should not send traffic to a node whose dataplane
	// is out of date.
	Healthy func() bool
	// Report is called when a port cannot be opened, once for each reason, and with a nil error when it can be after
	// all. It must not call Servers.
	Report func(s Service, port uint16, err error)
}

// Servers is one HTTP server for each port. Its methods may be called from any goroutine.
type Servers struct {
	config Config
	limits edge.Limits // of one port
	all    *edge.Cap

	mu     sync.Mutex
	ports  map[uint16]*port
	timer  *time.Timer
	closed bool
}

type port struct {
	number uint16
	server *http.Server // nil while it could not be opened
	failed string

	mu      sync.Mutex
	service Service
}

// New returns Servers without any port.
func New(c Config) *Servers {
	limits := edge.Probes()
	limits.Connections = portConnections
	return &Servers{config: c, limits: limits, all: edge.NewCap(allConnections), ports: map[uint16]*port{}}
}

// Set replaces the ports and what they answer. It opens ports that are new, and closes those that are no longer there.
// One that cannot be opened is tried again at every Set, and every 5 seconds.
func (s *Servers) Set(services map[uint16]Service) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for number, p := range s.ports {
		if _, wanted := services[number]; !wanted {
			p.close()
			delete(s.ports, number)
		}
	}
	for number, service := range services {
		p := s.ports[number]
		if p == nil {
			p = &port{number: number}
			s.ports[number] = p
		}
		p.mu.Lock()
		if p.service.Name != service.Name || p.service.UID != service.UID {
			p.failed = "" // the failure is to be reported for the new Service too
		}
		p.service = service
		p.mu.Unlock()
	}
	s.open()
}

// Close closes all ports for good.
func (s *Servers) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, p := range s.ports {
		p.close()
	}
	clear(s.ports)
}

// open opens what is not open, and comes back when something cannot be.
func (s *Servers) open() {
	again := false
	for _, p := range s.ports {
		if p.server != nil || s.closed {
			continue
		}
		text := ""
		err := p.open(s)
		if err != nil {
			text, again = err.Error(), true
		}
		if text != p.failed {
			s.config.Report(p.service, p.number, err)
		}
		p.failed = text
	}
	if again && s.timer == nil {
		s.timer = time.AfterFunc(retry, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.timer = nil
			s.open()
		})
	}
}

func (p *port) open(s *Servers) error {
	// One socket hears both families, or IPv4 alone where the node has no IPv6.
	listener, err := net.Listen("tcp", net.JoinHostPort("", strconv.Itoa(int(p.number))))
	if err != nil {
		return err
	}
	p.server = edge.Server(p.handler(s.config), s.limits)
	// It ends when it is closed.
	go p.server.Serve(edge.Listen(guarded{listener, s.config.Serves}, edge.NewCap(s.limits.Connections), s.all))
	return nil
}

func (p *port) close() {
	if p.server != nil {
		p.server.Close()
	}
}

// answer is what kube-proxy answers, field by field.
type answer struct {
	Service struct {
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
	} `json:"service"`
	LocalEndpoints      int  `json:"localEndpoints"`
	ServiceProxyHealthy bool `json:"serviceProxyHealthy"`
}

func (p *port) handler(c Config) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		service := p.service
		p.mu.Unlock()
		var a answer
		a.Service.Namespace, a.Service.Name = service.Name.Namespace, service.Name.Name
		a.LocalEndpoints, a.ServiceProxyHealthy = service.IPv4, c.Healthy()
		if askedBy6(r) {
			a.LocalEndpoints = service.IPv6
		}
		header := w.Header()
		header.Set("Content-Type", "application/json")
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("X-Load-Balancing-Endpoint-Weight", strconv.Itoa(a.LocalEndpoints))
		if a.LocalEndpoints == 0 || !a.ServiceProxyHealthy {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		json.NewEncoder(w).Encode(a)
	})
}

// askedBy6 reports whether the client came by IPv6.
func askedBy6(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	at, err := netip.ParseAddrPort(local.String())
	return err == nil && at.Addr().Unmap().Is6()
}

// guarded takes connections to the node's addresses on which node ports are served, and to loopback ones.
type guarded struct {
	net.Listener
	serves func(netip.Addr) bool
}

func (g guarded) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil || g.serves == nil {
			return conn, err
		}
		at, err := netip.ParseAddrPort(conn.LocalAddr().String())
		if err == nil && (at.Addr().Unmap().IsLoopback() || g.serves(at.Addr().Unmap())) {
			return conn, nil
		}
		conn.Close() // whatever becomes of it, others are to be let in
	}
}
