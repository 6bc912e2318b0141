package source

import (
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// Selection is which objects a client requests from the API.
type Selection struct {
	// ProxyName is the value of the label service.kubernetes.io/service-proxy-name; empty is for Services without it.
	ProxyName string
	// OnlyNode is the name of the one Node to watch; empty watches all.
	OnlyNode string
}

// chooseServices leaves Services of other proxies, and headless ones, with the API server, as kube-proxy has it.
func (s Selection) chooseServices(o *metav1.ListOptions) {
	o.LabelSelector = labels.NewSelector().Add(s.services()).String()
	o.FieldSelector = fields.OneTermNotEqualSelector("spec.clusterIP", v1.ClusterIPNone).String()
}

// chooseSlices leaves those of headless Services with the API server.
func (s Selection) chooseSlices(o *metav1.ListOptions) {
	o.LabelSelector = labels.NewSelector().Add(absent(v1.IsHeadlessService)).String()
}

func (s Selection) chooseNodes(o *metav1.ListOptions) {
	if s.OnlyNode != "" {
		o.FieldSelector = fields.OneTermEqualSelector("metadata.name", s.OnlyNode).String()
	}
}

// services returns what the labels of a Service must be like.
func (s Selection) services() labels.Requirement {
	if s.ProxyName == "" {
		return absent(cluster.ProxyNameLabel)
	}
	r, err := labels.NewRequirement(cluster.ProxyNameLabel, selection.Equals, []string{s.ProxyName})
	if err != nil {
		panic("BUG: " + err.Error()) // a label value: the configuration was validated
	}
	return *r
}

func absent(label string) labels.Requirement {
	r, err := labels.NewRequirement(label, selection.DoesNotExist, nil)
	if err != nil {
		panic("BUG: " + err.Error()) // a label is a constant of this program: it fails at each start, or never
	}
	return *r
}
