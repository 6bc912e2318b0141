package source

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/annotation"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// packed is a Service or an EndpointSlice as it is kept: what is read of it, in protobuf, without what its place in the
// store says. As an object of the API it would take ten times the memory, in hundreds of pieces that the garbage
// collector has to follow.
type packed struct {
	// name is the object's own, of that of the Service that it is or belongs to; empty where it belongs to none.
	name, of cluster.Name
	data     []byte
	// triggered is what an EndpointSlice says of its last change, else zero. It is no part of data: alone it changes
	// nothing.
	triggered time.Time
}

// GetObjectMeta implements metav1.ObjectMetaAccessor, by which the reflector finds the key of what it gathers of a
// list.
func (p *packed) GetObjectMeta() metav1.Object {
	return &metav1.ObjectMeta{Namespace: p.name.Namespace, Name: p.name.Name}
}

// GetObjectKind implements runtime.Object, as which the reflector takes an item of a list.
func (p *packed) GetObjectKind() schema.ObjectKind { return schema.EmptyObjectKind }

// DeepCopyObject implements runtime.Object. Nothing in it is ever changed.
func (p *packed) DeepCopyObject() runtime.Object { return p }

// unpacked returns the object of the API that an item of a list is. One that knows how is unpacked when its turn comes,
// so that a list is never there as a whole.
func unpacked(o any) any {
	if item, is := o.(interface{ Unpack() runtime.Object }); is {
		return item.Unpack()
	}
	return o
}

// pack takes what is read of the object. It changes the object, which is nobody's any more.
func pack(o any) (*packed, error) {
	switch o := unpacked(o).(type) {
	case *packed:
		return o, nil
	case *v1.Service:
		return packService(o)
	case *discovery.EndpointSlice:
		return packSlice(o)
	}
	return nil, fmt.Errorf("BUG: %T is neither a Service nor an EndpointSlice", o)
}

func packService(s *v1.Service) (*packed, error) {
	p := &packed{name: cluster.Name{Namespace: s.Namespace, Name: s.Name}}
	p.of = p.name
	s.ObjectMeta = metav1.ObjectMeta{
		Namespace: s.Namespace, Name: s.Name, UID: s.UID, ResourceVersion: s.ResourceVersion,
		CreationTimestamp: s.CreationTimestamp,
		Annotations:       relevant(s.Annotations), Labels: only(s.Labels, cluster.ProxyNameLabel),
	}
	s.Spec.Selector = nil
	s.Status.Conditions = nil
	var err error
	p.data, err = s.Marshal()
	return p, err
}

func packSlice(s *discovery.EndpointSlice) (*packed, error) {
	p := &packed{name: cluster.Name{Namespace: s.Namespace, Name: s.Name}}
	if of := s.Labels[discovery.LabelServiceName]; of != "" {
		if _, headless := s.Labels[v1.IsHeadlessService]; !headless {
			p.of = cluster.Name{Namespace: s.Namespace, Name: of}
		}
	}
	if t, err := time.Parse(time.RFC3339Nano, s.Annotations[v1.EndpointsLastChangeTriggerTime]); err == nil {
		p.triggered = t
	}
	s.ObjectMeta = metav1.ObjectMeta{Name: s.Name, Annotations: relevant(s.Annotations)}
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		e.Hostname, e.DeprecatedTopology = nil, nil
		c := &e.Conditions
		c.Ready, c.Serving, c.Terminating = unless(c.Ready, true), unless(c.Serving, true), unless(c.Terminating, false)
		if e.TargetRef != nil {
			e.TargetRef = &v1.ObjectReference{UID: short(e.TargetRef.UID)}
		}
	}
	var err error
	p.data, err = s.Marshal()
	return p, err
}

// unpackService and unpackSlice return objects that are the caller's own. What Marshal has written, Unmarshal reads.
func unpackService(data []byte) *v1.Service {
	s := &v1.Service{}
	_ = s.Unmarshal(data)
	return s
}

func unpackSlice(data []byte) *discovery.EndpointSlice {
	s := &discovery.EndpointSlice{}
	_ = s.Unmarshal(data)
	return s
}

// relevant returns the annotations that mean something to us, in a map of its own.
func relevant(annotations map[string]string) (kept map[string]string) {
	for key, value := range annotations {
		if annotation.Relevant(key) {
			if kept == nil {
				kept = map[string]string{}
			}
			kept[key] = value
		}
	}
	return kept
}

// unless returns nil where the condition says what one that is not there means.
func unless(condition *bool, otherwise bool) *bool {
	if condition != nil && *condition == otherwise {
		return nil
	}
	return condition
}

// short is half as long as a UUID is in text, and as good an identity.
func short(uid types.UID) types.UID {
	digits := strings.ReplaceAll(string(uid), "-", "")
	if raw, err := hex.DecodeString(digits); err == nil && len(raw) == 16 {
		return types.UID(raw)
	}
	return uid
}

func only(labels map[string]string, key string) map[string]string {
	if value, has := labels[key]; has {
		return map[string]string{key: value}
	}
	return nil
}

// shared returns the name with strings that belong to nothing larger.
func shared(n cluster.Name) cluster.Name {
	return cluster.Name{Namespace: strings.Clone(n.Namespace), Name: strings.Clone(n.Name)}
}
