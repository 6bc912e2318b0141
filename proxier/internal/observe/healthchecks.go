package observe

import (
	"log/slog"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/engine"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/servicehealth"
)

// HealthChecks is the Observer that keeps the health check node ports in line with the Services.
type HealthChecks struct {
	Servers *servicehealth.Servers
	rows    map[cluster.Name]engine.Row
}

func NewHealthChecks(c servicehealth.Config) *HealthChecks {
	return &HealthChecks{Servers: servicehealth.New(c), rows: map[cluster.Name]engine.Row{}}
}

// LogHealthCheck says that a port cannot be opened, or that it can be after all.
func LogHealthCheck(log *slog.Logger) func(servicehealth.Service, uint16, error) {
	return func(s servicehealth.Service, port uint16, err error) {
		if err != nil {
			log.Error("cannot open the health check node port; it is retried", "service", s.Name.String(), "port", port, "err",
				err)
		} else {
			log.Debug("health check node port is open", "service", s.Name.String(), "port", port)
		}
	}
}

// Observe implements Observer.
func (h *HealthChecks) Observe(r engine.Report) {
	changed := false
	for _, row := range r.Changed {
		before := h.rows[row.Name]
		if row.HealthCheckPort == 0 {
			delete(h.rows, row.Name)
		} else {
			h.rows[row.Name] = row
		}
		changed = changed || before.HealthCheckPort != row.HealthCheckPort || before.LocalReady != row.LocalReady
	}
	if !changed {
		return
	}
	ports := map[uint16]servicehealth.Service{}
	for name, row := range h.rows {
		// The API server gives no port twice. Should it have, one Service has it as long as it wants it.
		if other, taken := ports[row.HealthCheckPort]; !taken || name.Compare(other.Name) < 0 {
			ports[row.HealthCheckPort] = servicehealth.Service{
				Name: name, UID: row.UID, IPv4: row.LocalReady.IPv4, IPv6: row.LocalReady.IPv6,
			}
		}
	}
	h.Servers.Set(ports)
}
