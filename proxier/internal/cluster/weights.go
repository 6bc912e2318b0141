package cluster

import (
	"fmt"
	"maps"
	"slices"

	discovery "k8s.io/api/discovery/v1"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/annotation"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// weigh gives every endpoint its weight: the EndpointSlice's annotation, else the Service's list, else the Node's
// annotation, else 1.
type weigh struct {
	service annotation.Weights
	node    func(node string) (weight uint32, said bool)
}

func (p *parser) weights(s *Service) {
	setting := p.serviceSetting(annotation.Weight, "")
	s.Settings = append(s.Settings, setting)
	p.weigh.node = p.in.NodeWeight
	if setting.Value != "" {
		p.weigh.service = annotation.ParseWeights(setting.Value)
	}
}

// sliceWeight returns what the EndpointSlice's annotation says, and sorts its mistakes among the Service's Problems.
func (p *parser) sliceWeight(slice *discovery.EndpointSlice) (weight uint32, said bool) {
	where := "endpointslice " + budget.Printable(slice.Name) + " "
	unknownKeys(&p.problems, where, annotation.EndpointSlice, slice.Annotations)
	key, _ := annotation.Lookup(annotation.EndpointSlice, annotation.Weight)
	text, written := slice.Annotations[key.String()]
	if !written {
		return 0, false
	}
	field := where + key.Field()
	values, err := key.Parse(text)
	if err == nil {
		p.good(SliceWeightKey(slice.Name), values[annotation.AllPorts])
		return annotation.ParseWeight(values[annotation.AllPorts]), true
	}
	if p.in.LastGood != nil {
		if value, known := p.in.LastGood(SliceWeightKey(slice.Name), nil); known {
			p.good(SliceWeightKey(slice.Name), value)
			p.problems.Add(Problem{InvalidAnnotation, field, err.Error(), fmt.Sprintf("%s (%s)", value, SourceLastGood)})
			return annotation.ParseWeight(value), true
		}
	}
	p.problems.Add(Problem{InvalidAnnotation, field, err.Error(), "none"})
	return 0, false
}

// SliceWeightKey returns the key under which [LastGood] has the weight of an EndpointSlice.
func SliceWeightKey(slice string) string {
	return fmt.Sprintf("%s of endpointslice %s", annotation.Weight, slice)
}

func (p *parser) good(key, value string) {
	if p.sliceWeights == nil {
		p.sliceWeights = map[string]string{}
	}
	p.sliceWeights[key] = value
}

// WeightOf says which object gives an endpoint its weight.
type WeightOf uint8

// The objects. Without any the weight is 1.
const (
	WeightOfNone WeightOf = iota
	WeightOfSlice
	WeightOfService
	WeightOfNode
)

// String returns what an operator would call it.
func (w WeightOf) String() string {
	switch w {
	case WeightOfSlice:
		return "annotation of the EndpointSlice"
	case WeightOfService:
		return "annotation of the Service"
	case WeightOfNode:
		return "annotation of the Node"
	}
	return "default"
}

func (w weigh) of(at scheduler.Place) (uint32, WeightOf) {
	if weight, said := w.service.For(at); said {
		return weight, WeightOfService
	}
	if w.node != nil {
		if weight, said := w.node(at.Node); said {
			return weight, WeightOfNode
		}
	}
	return 1, WeightOfNone
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
