package convert

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/ipvs-proxier/ipvs-proxier/internal/document"
)

const (
	kubeProxyVersion = "kubeproxy.config.k8s.io/v1alpha1"
	kubeProxyKind    = "KubeProxyConfiguration"
	// inConfigMap is the key that kubeadm uses. Others have others, such as EKS with "config".
	inConfigMap = "config.conf"
)

// finder looks for kube-proxy's configuration in a file.
type finder struct {
	result *Result
	found  *kubeProxy
	// place is where it stands, within what place.
	place, within string
	// others are the types of what is no such configuration.
	others []string
	// elsewhere are texts of ConfigMaps under other keys than kubeadm's that seem to hold one, by place.
	elsewhere []struct{ place, text string }
}

func (f *finder) read(data []byte) error {
	for object, err := range document.Read(data, f.repeated) {
		if err != nil {
			return fmt.Errorf("%s%w", f.within, err)
		}
		if err := f.object(object); err != nil {
			return err
		}
	}
	return nil
}

func (f *finder) object(o *document.Object) error {
	switch o.APIVersion + " " + o.Kind {
	case kubeProxyVersion + " " + kubeProxyKind:
		return f.configuration(o)
	case "v1 ConfigMap":
		return f.configMap(o)
	case "v1 List", "v1 ConfigMapList":
		items, wrong := o.Items()
		if wrong != nil {
			return *wrong
		}
		for _, item := range items {
			if err := f.object(item); err != nil {
				return err
			}
		}
		return nil
	}
	if o.Wrong != nil {
		return fmt.Errorf("%s%w", f.within, *o.Wrong)
	}
	f.others = append(f.others, fmt.Sprintf("apiVersion %q kind %q", o.APIVersion, o.Kind))
	return nil
}

func (f *finder) configMap(o *document.Object) error {
	var m v1.ConfigMap
	if _, wrong := o.Decode(&m); wrong != nil {
		return *wrong
	}
	text, has := m.Data[inConfigMap]
	if !has {
		f.others = append(f.others, o.String()+" without "+inConfigMap)
		for _, key := range slices.Sorted(maps.Keys(m.Data)) {
			if strings.Contains(m.Data[key], kubeProxyKind) {
				f.elsewhere = append(f.elsewhere, struct{ place, text string }{fmt.Sprintf("%s: %s: ", o, key), m.Data[key]})
			}
		}
		return nil
	}
	return f.inside(fmt.Sprintf("%s: %s: ", o, inConfigMap), text)
}

// inside reads a text that stands within something else.
func (f *finder) inside(place, text string) error {
	f.within = place
	defer func() { f.within = "" }()
	return f.read([]byte(text))
}

// lookElsewhere reads what stands under other keys, where kubeadm's is nowhere.
func (f *finder) lookElsewhere() error {
	if f.found != nil {
		return nil
	}
	for _, other := range f.elsewhere {
		if err := f.inside(other.place, other.text); err != nil {
			return err
		}
	}
	return nil
}

func (f *finder) configuration(o *document.Object) error {
	place := fmt.Sprintf("%sline %d (document %d)", f.within, o.Line, o.Document)
	if f.found != nil {
		return fmt.Errorf("%s: this is a second %s; the first one is in %s", place, kubeProxyKind, f.place)
	}
	f.found, f.place = &kubeProxy{}, place
	leftOut, wrong := o.Decode(f.found)
	if wrong != nil {
		return fmt.Errorf("%s%w", f.within, *wrong)
	}
	for _, m := range leftOut {
		f.leftOut(m)
	}
	return nil
}

// leftOut notes what kube-proxy does not know, and leaves out.
func (f *finder) leftOut(m document.Mistake) {
	f.result.note("(file)", "", "%s%v; it is left out, as kube-proxy leaves it out", f.within, m)
}

func (f *finder) repeated(m document.Mistake) {
	f.result.note("(file)", "", "%s%v; the last one counts, as for kube-proxy", f.within, m)
}

func (f *finder) nothing() error {
	there := "the file is empty"
	if len(f.others) > 0 {
		there = strings.Join(f.others, ", ")
	}
	return fmt.Errorf("%s; allowed are %s %s, and a ConfigMap with one", there, kubeProxyVersion, kubeProxyKind)
}
