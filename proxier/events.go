package proxier

import (
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/servicehealth"
)

// component is who reports Events.
const component = "ipvs-proxier"

// The reasons of Events that are no Problems.
const (
	reasonStarting    = "Starting"
	reasonRecovered   = "Recovered"
	reasonHealthCheck = "FailedToStartServiceHealthcheck" // kube-proxy's word
)

// recorder is where Events go. It never blocks: an Event for which there is no room is lost.
type recorder interface {
	Eventf(regarding, related runtime.Object, eventtype, reason, action, note string, args ...any)
}

// eventObserver tells of Problems where users look: in Events of their Services. It says each once, and that it is over.
type eventObserver struct {
	recorder recorder
	problems map[cluster.Name][]cluster.Problem
}

func newEventObserver(r recorder) *eventObserver {
	return &eventObserver{recorder: r, problems: map[cluster.Name][]cluster.Problem{}}
}

// startRecorder returns a recorder for the API, and what ends it. What is told again within minutes about the same object, version
// and field, for the same reason, becomes a series there: the recorder compares these, and not the text, and keeps the first text
// (client-go, tools/events, getKey).
func startRecorder(client kubernetes.Interface) (recorder, func()) {
	broadcaster := events.NewBroadcaster(&events.EventSinkImpl{Interface: client.EventsV1()})
	stop := make(chan struct{})
	broadcaster.StartRecordingToSink(stop)
	return broadcaster.NewRecorder(scheme.Scheme, component), func() {
		broadcaster.Shutdown()
		close(stop)
	}
}

// Observe implements Observer.
func (o *eventObserver) Observe(r Report) {
	for _, row := range r.Changed {
		before := o.problems[row.Name]
		for _, p := range row.Problems {
			if !slices.Contains(before, p) {
				o.tell(row, p.Field, v1.EventTypeWarning, string(p.Reason), p.Field+": "+p.Message)
			}
		}
		if len(before) > 0 && len(row.Problems) == 0 && !row.Gone {
			o.tell(row, "", v1.EventTypeNormal, reasonRecovered, "everything that the Service asks for is carried out")
		}
		if len(row.Problems) == 0 {
			delete(o.problems, row.Name)
		} else {
			o.problems[row.Name] = row.Problems
		}
	}
}

func (o *eventObserver) tell(row Row, field, kind, reason, note string) {
	about := serviceReference(row.Name, row.UID)
	about.FieldPath, about.ResourceVersion = field, row.Version
	o.recorder.Eventf(about, nil, kind, reason, "Programming", "%s", limited(note))
}

// noteLimit is what the API server takes (k8s.io/kubernetes/pkg/apis/core/validation, NoteLengthLimit).
const noteLimit = 1024

func limited(note string) string {
	if len(note) > noteLimit {
		return strings.ToValidUTF8(note[:noteLimit-3], "") + "..." // the cut may go through a letter
	}
	return note
}

func serviceReference(name cluster.Name, uid string) *v1.ObjectReference {
	return &v1.ObjectReference{APIVersion: "v1", Kind: "Service", Namespace: name.Namespace, Name: name.Name, UID: types.UID(uid)}
}

// started tells of the start, on the Node.
func started(r recorder, nodeName, version string) {
	node := &v1.ObjectReference{APIVersion: "v1", Kind: "Node", Name: nodeName, UID: types.UID(nodeName)}
	r.Eventf(node, nil, v1.EventTypeNormal, reasonStarting, "Starting", "%s", fmt.Sprintf("ipvs-proxier %s", version))
}

// healthCheckEvents adds an Event to what is done when a health check node port cannot be opened.
func healthCheckEvents(r recorder, also func(servicehealth.Service, uint16, error)) func(servicehealth.Service, uint16, error) {
	return func(s servicehealth.Service, port uint16, err error) {
		also(s, port, err)
		if err != nil {
			r.Eventf(serviceReference(s.Name, s.UID), nil, v1.EventTypeWarning, reasonHealthCheck, "Listening", "%s",
				limited(fmt.Sprintf("health check node port %d cannot be opened: %v; it is tried again", port, err)))
		}
	}
}
