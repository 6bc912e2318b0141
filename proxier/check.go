package proxier

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/annotation"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/inputfile"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// Checked is what a [Checker] says of an object.
type Checked struct {
	// Object is "Service default/web", "EndpointSlice default/web-1" or "Node n1".
	Object string `json:"object"`
	// File is where it stands.
	File     string          `json:"file"`
	Problems []ProblemStatus `json:"problems,omitempty"`
	// Settings are what would be in force for a new Service, by port; "" is the whole Service.
	Settings map[string][]SettingStatus `json:"settings,omitempty"`
}

// Checker says, without a cluster or a kernel, what would not be honoured of objects. The zero value is not usable: see [NewChecker].
type Checker struct {
	config  Config
	objects []checkedObject
}

type checkedObject struct {
	file  string
	value runtime.Object
}

// NewChecker returns a Checker under a configuration, which need not be complete.
func NewChecker(c Config) *Checker { return &Checker{config: c} }

// Read takes in the Services, EndpointSlices and Nodes of a stream of YAML or JSON documents, alone or in Lists; others are passed over. The
// error names the file and the document.
func (c *Checker) Read(file string, r io.Reader) error {
	documents := utilyaml.NewYAMLReader(bufio.NewReader(inputfile.Bounded(r, inputfile.MaxBytes)))
	for n := 1; ; n++ {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = c.take(file, document)
		}
		if err != nil {
			return fmt.Errorf("%s: document %d: %w", Printable(file), n, err)
		}
	}
}

// ReadFile is Read for a file that was found in a directory: what is no regular file is an error, and not waited for.
func (c *Checker) ReadFile(path string) error {
	f, err := inputfile.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return c.Read(path, f)
}

func (c *Checker) take(file string, document []byte) error {
	data, err := yaml.YAMLToJSONStrict(document)
	if err != nil {
		return err
	}
	if bytes.Equal(data, []byte("null")) {
		return nil
	}
	var head struct {
		metav1.TypeMeta `json:",inline"`
		Items           []runtime.RawExtension `json:"items"`
	}
	if err := yaml.Unmarshal(data, &head); err != nil {
		return err
	}
	if strings.HasSuffix(head.Kind, "List") {
		for _, item := range head.Items {
			if err := c.take(file, item.Raw); err != nil {
				return err
			}
		}
		return nil
	}
	values := map[string]runtime.Object{"Service": &v1.Service{}, "EndpointSlice": &discovery.EndpointSlice{}, "Node": &v1.Node{}}
	value, ours := values[head.Kind]
	if !ours {
		return nil
	}
	if err := yaml.UnmarshalStrict(data, value); err != nil {
		return fmt.Errorf("%s: %w", head.Kind, err)
	}
	c.objects = append(c.objects, checkedObject{file, value})
	return nil
}

// Result returns what is to be said of each object that was read, in their order.
func (c *Checker) Result() []Checked {
	weights := map[string]uint32{}
	slicesOf := map[cluster.Name][]*discovery.EndpointSlice{}
	for _, o := range c.objects {
		switch value := o.value.(type) {
		case *v1.Node:
			key, _ := annotation.Lookup(annotation.Node, annotation.Weight)
			if values, err := key.Parse(value.Annotations[key.String()]); err == nil {
				weights[value.Name] = annotation.ParseWeight(values[annotation.AllPorts])
			}
		case *discovery.EndpointSlice:
			name := cluster.Name{Namespace: namespaced(value.Namespace), Name: value.Labels[discovery.LabelServiceName]}
			slicesOf[name] = append(slicesOf[name], value)
		}
	}
	var all []Checked
	for _, o := range c.objects {
		switch value := o.value.(type) {
		case *v1.Service:
			name := cluster.Name{Namespace: namespaced(value.Namespace), Name: value.Name}
			nodeWeight := func(node string) (uint32, bool) { weight, said := weights[node]; return weight, said }
			if c.config.NodeWeights == NoNodeWeights {
				nodeWeight = nil
			}
			all = append(all, c.service(o.file, name, value, slicesOf[name], nodeWeight))
		case *discovery.EndpointSlice:
			all = append(all, checkedAnnotations(o.file, annotation.EndpointSlice, "EndpointSlice "+namespaced(value.Namespace)+"/"+value.Name, value.Annotations))
		case *v1.Node:
			all = append(all, checkedAnnotations(o.file, annotation.Node, "Node "+value.Name, value.Annotations))
		}
	}
	return all
}

func namespaced(namespace string) string {
	if namespace == "" {
		return metav1.NamespaceDefault
	}
	return namespace
}

func (c *Checker) service(file string, name cluster.Name, s *v1.Service, of []*discovery.EndpointSlice, nodeWeight func(string) (uint32, bool)) Checked {
	s.Namespace = name.Namespace
	if s.Spec.ClusterIP == "" && len(s.Spec.ClusterIPs) == 0 { // the API server chooses one; this is an address for documents (RFC 5737)
		s.Spec.ClusterIP = "192.0.2.1"
	}
	externalIPs, _ := parseCIDRs(c.config.ExternalIPCIDRs)
	_, mistakes := cluster.Ignored(s, false)
	parsed := cluster.Parse(cluster.Input{
		Service: s, Slices: of, Operator: c.config.operator(), NoAliases: c.config.IgnoreAliases, NodeWeight: nodeWeight, ExternalIPCIDRs: externalIPs,
	})
	checked := Checked{Object: "Service " + name.String(), File: file, Settings: map[string][]SettingStatus{"": settingStatus(parsed.Settings)}}
	parsed.Problems.Join(mistakes)
	for _, p := range parsed.Problems.Told() {
		if !strings.HasPrefix(p.Field, "endpointslice ") { // the slice itself is told of
			checked.Problems = append(checked.Problems, ProblemStatus{string(p.Reason), p.Field, p.Text()})
		}
	}
	for _, port := range parsed.Ports {
		label := port.Name
		if label == "" {
			label = fmt.Sprintf("%d/%s", port.Port, port.Protocol)
		}
		checked.Settings[label] = settingStatus(port.Settings)
	}
	return checked
}

func checkedAnnotations(file string, of annotation.Object, object string, annotations map[string]string) Checked {
	return Checked{Object: object, File: file, Problems: problemStatus(cluster.AnnotationProblems(of, annotations).Told())}
}

// CheckAnnotation reads "KEY=VALUE", the key with or without its prefix, and after the kind of its object where that is no Service:
// "node/weight=3". It returns the annotation as it is understood.
func CheckAnnotation(text string) (canonical string, err error) {
	of, name, value, err := splitAnnotation(text)
	if err != nil {
		return "", err
	}
	key, known := annotation.Lookup(of, name)
	if !known {
		return "", errors.New(cluster.AnnotationProblems(of, map[string]string{annotation.Prefix + name: value}).Told()[0].String())
	}
	values, err := key.Parse(value)
	if err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	return key.String() + "=" + values.String(), nil
}

func splitAnnotation(text string) (of annotation.Object, name, value string, err error) {
	written, value, assigned := strings.Cut(text, "=")
	if !assigned {
		return "", "", "", fmt.Errorf("%q is not of the form KEY=VALUE, such as scheduler=wlc", text)
	}
	of, name = annotation.Service, written
	for _, kind := range annotationKinds {
		if rest, cut := strings.CutPrefix(written, strings.ToLower(string(kind))+"/"); cut {
			of, name = kind, rest
		}
	}
	return of, strings.TrimPrefix(name, annotation.Prefix), value, nil
}

var annotationKinds = []annotation.Object{annotation.Service, annotation.EndpointSlice, annotation.Node}

// CompleteAnnotation returns what may stand where so far there is text: keys with "=", or values, each with a tab and an explanation.
func CompleteAnnotation(text string) []string {
	var words []string
	if !strings.Contains(text, "=") {
		for _, of := range annotationKinds {
			kind := ""
			if of != annotation.Service {
				kind = strings.ToLower(string(of)) + "/"
			}
			for _, key := range annotation.Keys(of) {
				words = append(words, kind+key.Name+"=\t"+key.Summary)
			}
		}
		return words
	}
	of, name, value, _ := splitAnnotation(text)
	key, known := annotation.Lookup(of, name)
	if !known {
		return nil
	}
	before := text[:len(text)-len(value)] + value[:strings.LastIndexAny(value, ",=+ ")+1]
	for _, word := range key.Words {
		explained := before + word
		if s, is := scheduler.Lookup(word); is && name == annotation.Scheduler {
			explained += "\t" + s.Summary
		}
		words = append(words, explained)
	}
	return words
}
