package proxier

import "github.com/ipvs-proxier/ipvs-proxier/proxier/internal/observe"

// What the daemon says of itself, and what Checker says of objects.
type (
	Status            = observe.Status
	ServiceStatus     = observe.ServiceStatus
	FrontEndStatus    = observe.FrontEndStatus
	RealServerStatus  = observe.RealServerStatus
	SettingStatus     = observe.SettingStatus
	ProblemStatus     = observe.ProblemStatus
	ConnectionsStatus = observe.ConnectionsStatus
)
