package manifests

import (
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ipvs-proxier/ipvs-proxier/internal/spelling"
)

// reading is what is done with an object by its type.
type reading int

const (
	passedOver reading = iota // of a kind that is somebody else's business, such as the Deployment beside its Service
	single
	list
	mistaken // probably meant to be of a kind that is read
)

// groups are the kinds that are read, by their API group.
var groups = map[string][]string{
	v1.GroupName:        {"Service", "Node"},
	discovery.GroupName: {"EndpointSlice"},
}

// singles and lists are the kinds as somebody may have meant to write them. They are apart because EndpointsList is
// nearly EndpointSlice, and NodeList is in neither because PodList is nearly that.
var (
	singles = []string{"Service", "EndpointSlice", "Node", "List"}
	lists   = []string{"ServiceList", "EndpointSliceList", "List"}
)

// kindOf returns what is done with an object of a type. Where the type is mistaken, meant says which one was probably
// meant, if one is near.
func kindOf(t metav1.TypeMeta) (of reading, meant string) {
	group, version, grouped := strings.Cut(t.APIVersion, "/")
	if !grouped {
		group, version = v1.GroupName, t.APIVersion
	}
	kinds, ours := groups[group]
	element, isList := strings.CutSuffix(t.Kind, "List")
	switch {
	case t.APIVersion == "" || t.Kind == "":
		return mistaken, ""
	case ours && version == "v1" && slices.Contains(kinds, t.Kind):
		return single, ""
	case ours && version == "v1" && isList && (slices.Contains(kinds, element) || group == v1.GroupName && element == ""):
		return list, ""
	}
	// A kind is one of its group: the Service of Knative (serving.knative.dev/v1) is no Service of ours.
	if _, near := spelling.Nearest(group, []string{discovery.GroupName}); !ours && !near {
		return passedOver, ""
	}
	words := singles
	if isList {
		words = lists
	}
	if word, near := spelling.Nearest(t.Kind, words); near {
		return mistaken, didYouMean(word, t)
	}
	return passedOver, ""
}

func didYouMean(word string, t metav1.TypeMeta) string {
	meant := "v1 " + word
	if strings.HasPrefix(word, "EndpointSlice") {
		meant = discovery.SchemeGroupVersion.String() + " " + word
	}
	if meant == t.APIVersion+" "+t.Kind {
		return ""
	}
	return " (did you mean " + meant + "?)"
}
