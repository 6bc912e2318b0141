package events

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// component is the reportingController of our Events.
const component = "ipvs-proxier"

// What the API server takes (k8s.io/kubernetes 1.37, pkg/apis/core/validation/events.go: ReportingInstanceLengthLimit,
// NoteLengthLimit).
const (
	instanceLimit = 128
	noteLimit     = 1024
)

// newEvent returns the node's Event about an object. The Event's name is made of the object's and of identity: a node
// that reports the same under the same name, whichever node it is, gets the API's answer that the Event exists.
func newEvent(
	node string, about v1.ObjectReference, kind, reason, action, note string, identity ...string,
) *eventsv1.Event {
	namespace := about.Namespace
	if namespace == "" {
		namespace = metav1.NamespaceDefault // where the API server wants Events of what has no namespace
	}
	return &eventsv1.Event{
		ObjectMeta:          metav1.ObjectMeta{Namespace: namespace, Name: eventName(about.Name, identity...)},
		ReportingController: component,
		ReportingInstance:   limited(node, instanceLimit),
		Regarding:           about,
		Type:                kind,
		Reason:              reason,
		Action:              action,
		Note:                limited(note, noteLimit),
	}
}

// eventName returns the object's name and a hash of identity. The name is cut where both are too long together.
func eventName(object string, identity ...string) string {
	hash := sha256.Sum256(fmt.Appendf(nil, "%q", identity))
	suffix := "." + hex.EncodeToString(hash[:8])
	if room := validation.DNS1123SubdomainMaxLength - len(suffix); len(object) > room {
		object = strings.TrimRight(object[:room], "-.")
	}
	return object + suffix
}

func limited(text string, limit int) string {
	if len(text) > limit {
		return strings.ToValidUTF8(text[:limit-3], "") + "..." // the cut may go through a letter
	}
	return text
}

// nodeReference has the name for the UID: kubectl describe node looks for that.
func nodeReference(name string) v1.ObjectReference {
	return v1.ObjectReference{APIVersion: "v1", Kind: "Node", Name: name, UID: types.UID(name)}
}

func serviceReference(name cluster.Name, uid string) v1.ObjectReference {
	return v1.ObjectReference{
		APIVersion: "v1", Kind: "Service", Namespace: name.Namespace, Name: name.Name, UID: types.UID(uid),
	}
}
