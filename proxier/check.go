package proxier

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"

	"github.com/ipvs-proxier/ipvs-proxier/internal/document"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/annotation"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/inputfile"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/manifests"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/observe"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// Checked is what a [Checker] says of an object.
type Checked struct {
	// Object is "Service default/web", "EndpointSlice default/web-1" or "Node n1", without the name where it has none.
	Object string `json:"object"`
	// File is the path of the file that holds it.
	File string `json:"file"`
	// Problems are what is written wrong, with its line and document in the message, and what would be rejected.
	Problems []ProblemStatus `json:"problems,omitempty"`
	// Settings are what would be in force for a new Service, by port; "" is the whole Service.
	Settings map[string][]SettingStatus `json:"settings,omitempty"`
}

// Checker says, without a cluster or a kernel, what would be rejected of objects. The zero value is not usable: see
// [NewChecker].
type Checker struct {
	config  Config
	objects []checkedObject
}

type checkedObject struct {
	file string
	manifests.Found
}

// NewChecker returns a Checker under a configuration, which need not be complete.
func NewChecker(c Config) *Checker { return &Checker{config: c} }

// Read adds the Services, EndpointSlices and Nodes of YAML or JSON documents, alone or in Lists, as --manifests does.
// Objects of other kinds are skipped, and so is a document that names no kind at all: a directory may hold a
// kustomization, or the values of a chart. The error, of what is not YAML, names file, line and document.
func (c *Checker) Read(file string, r io.Reader) error {
	content, err := io.ReadAll(inputfile.Bounded(r, inputfile.MaxBytes))
	if err != nil {
		return fmt.Errorf("%s: %w", Printable(file), err)
	}
	found, err := manifests.Read(content)
	if err != nil {
		return fmt.Errorf("%s: %w", Printable(file), err)
	}
	for _, o := range found {
		if !o.Untyped && (o.Value != nil || len(o.Mistakes) > 0) {
			c.objects = append(c.objects, checkedObject{file, o})
		}
	}
	return nil
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

// Result returns the result for each object that was read, in their order.
func (c *Checker) Result() []Checked {
	weights := map[string]uint32{}
	slicesOf := map[cluster.Name][]*discovery.EndpointSlice{}
	for _, o := range c.objects {
		switch value := o.Value.(type) {
		case *v1.Node:
			key, _ := annotation.Lookup(annotation.Node, annotation.Weight)
			if values, err := key.Parse(value.Annotations[key.String()]); err == nil {
				weights[value.Name] = annotation.ParseWeight(values[annotation.AllPorts])
			}
		case *discovery.EndpointSlice:
			name := cluster.Name{Namespace: value.Namespace, Name: value.Labels[discovery.LabelServiceName]}
			slicesOf[name] = append(slicesOf[name], value)
		}
	}
	nodeWeight := func(node string) (uint32, bool) { weight, said := weights[node]; return weight, said }
	if c.config.NodeWeights == NoNodeWeights {
		nodeWeight = nil
	}
	var all []Checked
	for _, o := range c.objects {
		checked := Checked{Object: o.String(), File: o.file}
		var problems []cluster.Problem
		switch value := o.Value.(type) {
		case *v1.Service:
			problems, checked.Settings = c.service(value, slicesOf[cluster.Name{Namespace: value.Namespace, Name: value.Name}],
				nodeWeight)
		case *discovery.EndpointSlice:
			of := cluster.AnnotationProblems(annotation.EndpointSlice, value.Annotations)
			problems = of.Reported()
		case *v1.Node:
			of := cluster.AnnotationProblems(annotation.Node, value.Annotations)
			problems = of.Reported()
		}
		checked.Problems = withMistakes(o.Mistakes, problems)
		all = append(all, checked)
	}
	return all
}

// withMistakes puts what is written wrong in front of the Problems. It stands in the place of a Problem of the same
// field.
func withMistakes(mistakes []document.Mistake, problems []cluster.Problem) (status []ProblemStatus) {
	mistaken := map[string]bool{}
	for _, m := range mistakes {
		mistaken[m.Field] = true
		status = append(status, ProblemStatus{
			Reason: cluster.InvalidField.Name, Field: m.Field,
			Message: fmt.Sprintf("line %d (document %d): %s", m.Line, m.Document, m.Text),
		})
	}
	for _, p := range problems {
		if p.Reason != cluster.InvalidField || !mistaken[p.Field] {
			status = append(status, ProblemStatus{Reason: p.Reason.Name, Field: p.Field, Message: p.Text()})
		}
	}
	return status
}

func (c *Checker) service(
	s *v1.Service, of []*discovery.EndpointSlice, nodeWeight func(string) (uint32, bool),
) ([]cluster.Problem, map[string][]SettingStatus) {
	if len(s.Spec.ClusterIPs) == 0 { // the API server chooses one; this is an address for documents (RFC 5737)
		s.Spec.ClusterIP = "192.0.2.1"
	}
	externalIPs, _ := parseCIDRs(c.config.ExternalIPCIDRs)
	_, mistakes := cluster.Ignored(s, false)
	parsed := cluster.Parse(cluster.Input{
		Service: s, Slices: of, Operator: c.config.operator(), NoAliases: c.config.IgnoreAliases, NodeWeight: nodeWeight,
		ExternalIPCIDRs: externalIPs,
	})
	parsed.Problems.Join(mistakes)
	problems := slices.DeleteFunc(parsed.Problems.Reported(), func(p cluster.Problem) bool {
		return strings.HasPrefix(p.Field, "endpointslice ") // the slice itself is reported
	})
	settings := map[string][]SettingStatus{"": observe.NewSettingStatus(parsed.Settings)}
	for _, port := range parsed.Ports {
		label := port.Name
		if label == "" {
			label = fmt.Sprintf("%d/%s", port.Port, port.Protocol)
		}
		settings[label] = observe.NewSettingStatus(port.Settings)
	}
	return problems, settings
}

// CheckAnnotation reads "KEY=VALUE", the key with or without its prefix. Where the object is no Service its kind stands
// before the key: "node/weight=3". It returns the annotation as the proxier reads it.
func CheckAnnotation(text string) (canonical string, err error) {
	of, name, value, err := splitAnnotation(text)
	if err != nil {
		return "", err
	}
	key, known := annotation.Lookup(of, name)
	if !known {
		return "", errors.New(
			cluster.AnnotationProblems(of, map[string]string{annotation.Prefix + name: value}).Reported()[0].String(),
		)
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

// CompleteAnnotation returns what may stand where so far there is text: keys with "=", or values, each with a tab and
// an explanation.
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
