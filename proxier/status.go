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
	ServiceDetail     = observe.Detail
	EndpointStatus    = observe.EndpointStatus
	// Journal is what the daemon has done last.
	Journal      = observe.JournalStatus
	JournalEntry = observe.JournalEntry
	// State is how something in the kernel compares with what is wanted.
	State = observe.State
)

// The states that the command writes otherwise.
const (
	StateOK       = observe.OK
	StateMissing  = observe.Missing
	StateExtra    = observe.Extra
	StateDiffers  = observe.Differs
	StateDraining = observe.Draining
	StateStarting = observe.Starting
	StateUnknown  = observe.Unknown
)
