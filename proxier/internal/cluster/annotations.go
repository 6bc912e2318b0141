package cluster

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/ipvs-proxier/ipvs-proxier/internal/spelling"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/annotation"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// The reasons that are found here.
var (
	// UnsupportedScheduler: this node's kernel lacks the scheduler.
	UnsupportedScheduler = Reason{Name: "UnsupportedScheduler", OfNode: true}
	// UnsuitableScheduler: a scheduler that hardly does what its author expects.
	UnsuitableScheduler = Reason{Name: "UnsuitableScheduler"}
	// AnnotationConflict: an annotation of ours and its alias say different things.
	AnnotationConflict = Reason{Name: "AnnotationConflict"}
)

// Setting is the value of one key that is in force, and where it comes from.
type Setting struct {
	// Key is the name of the annotation without its prefix.
	Key string
	// Value is canonical; "" is the kernel's, or off.
	Value string
	// Source says, for people, where the value comes from.
	Source string
}

// The sources of a Setting, beside "annotation KEY".
const (
	SourceLastGood  = "last good value"
	SourceConfig    = "configuration"
	SourceNamespace = "configuration of the namespace"
	SourceDefault   = "default"
)

// OfService reports whether the value comes from an annotation of the Service, the present one or the last good one.
func (s Setting) OfService() bool {
	switch s.Source {
	case SourceConfig, SourceNamespace, SourceDefault, SourceAffinity:
		return false
	}
	return true
}

// SourceOf returns the source of a Setting whose value an annotation has.
func SourceOf(key string) string { return "annotation " + key }

// Operator is what the operator has chosen, below the annotations of Services: canonical values by the names of the
// keys.
type Operator struct {
	Global     map[string]string
	Namespaces map[string]map[string]string
}

func (o Operator) setting(namespace, key, otherwise string) Setting {
	if value, said := o.Namespaces[namespace][key]; said {
		return Setting{key, value, SourceNamespace}
	}
	if value, said := o.Global[key]; said {
		return Setting{key, value, SourceConfig}
	}
	return Setting{key, otherwise, SourceDefault}
}

// LastGood returns the canonical value of a key that is in force for a Service: for that port, or with nil for the
// whole Service. It is in force when the present value is rejected.
type LastGood func(key string, port *ServicePort) (value string, known bool)

// A value comes from the annotations of the Service ([parser.read]: our own key, else an alias), from the values in
// force before (LastGood, where the annotation is rejected) or from the operator (Operator). [parser.inForce] chooses
// one of them. It goes as a Setting into Service.Settings and ServicePort.Settings, which status shows, and in which
// the next parse finds the last good value. In our types it goes into the other fields of both, from which package
// dataplane compiles the front ends.

// written is what the annotations of a Service say about one key.
type written struct {
	key    annotation.Key
	source string
	// values is nil when nothing is said, or nothing that can be accepted: then bad is set.
	values annotation.Values
	bad    *Problem
}

// read returns what the annotations say about a key of the Service: our own annotation, else an alias. What is written
// is read once.
func (p *parser) read(name string) written {
	if s, known := p.said[name]; known {
		return s
	}
	s := p.readAnnotations(name)
	if s.source != "" {
		if p.said == nil {
			p.said = map[string]written{}
		}
		p.said[name] = s
	}
	return s
}

func (p *parser) readAnnotations(name string) written {
	key, _ := annotation.Lookup(annotation.Service, name)
	s := written{key: key}
	if text, written := p.in.Service.Annotations[key.String()]; written {
		s.source = SourceOf(key.String())
		s.values, s.bad = parsed(key, key.String(), text)
	}
	if p.in.NoAliases {
		return s
	}
	for _, alias := range annotation.Aliases {
		text, written := p.in.Service.Annotations[alias.Key]
		if alias.Name != name || !written {
			continue
		}
		values, bad := translated(key, alias, text)
		switch {
		case s.source == "":
			s.source, s.values, s.bad = SourceOf(alias.Key), values, bad
		case values != nil && s.values != nil && values.String() != s.values.String():
			p.problem(AnnotationConflict, annotation.Field(alias.Key), "%s says something else than the %s; in force is %s",
				budget.Quote(text), s.source, budget.Short(s.values.String()))
		}
	}
	return s
}

// translated reads the annotation of another project.
func translated(key annotation.Key, alias annotation.Alias, text string) (annotation.Values, *Problem) {
	if len(text) <= budget.ValueBytes {
		if ours, understood := alias.Translate(text); understood {
			return parsed(key, alias.Key, ours)
		}
	}
	return nil, &Problem{
		Reason: InvalidAnnotation, Field: annotation.Field(alias.Key), Message: budget.Quote(text) + " is not supported",
	}
}

func parsed(key annotation.Key, written, text string) (annotation.Values, *Problem) {
	values, err := key.Parse(text)
	if err != nil {
		return nil, &Problem{Reason: InvalidAnnotation, Field: annotation.Field(written), Message: err.Error()}
	}
	return values, nil
}

// inForce returns the setting that is in force for a port of the Service, or for the whole Service where that is nil.
func (p *parser) inForce(s *written, port *ServicePort, otherwise string) Setting {
	name, number := "", uint16(0)
	if port != nil {
		name, number = port.Name, port.Port
	}
	if value, named := s.values.For(name, number); named {
		return Setting{s.key.Name, value, s.source}
	}
	inForce := p.in.Operator.setting(p.in.Service.Namespace, s.key.Name, otherwise)
	if s.bad != nil && p.in.LastGood != nil {
		if value, known := p.in.LastGood(s.key.Name, port); known {
			inForce = Setting{s.key.Name, value, SourceLastGood}
		}
	}
	return inForce
}

// nothingSaid is what a setting without a value means.
var nothingSaid = map[string]string{
	annotation.Expose: "all", annotation.SlowStart: "off", annotation.MaxConnections: "no limit",
	annotation.Weight: "the Nodes' weights, else 1",
}

// report adds the Problem of a key, if it has one, with what is in force instead.
func (p *parser) report(s written, inForce []Setting) {
	if s.bad == nil {
		return
	}
	var words []string
	met := map[Setting]struct{}{}
	for _, setting := range inForce {
		if _, again := met[setting]; again {
			continue
		}
		met[setting] = struct{}{}
		value := setting.Value
		if value == "" {
			value = nothingSaid[setting.Key]
		}
		words = append(words, fmt.Sprintf("%s (%s)", budget.Short(value), setting.Source))
	}
	problem := *s.bad
	problem.InForce = budget.List(words)
	p.problems.Add(problem)
}

// serviceSetting reads a key that no port has.
func (p *parser) serviceSetting(name, otherwise string) Setting {
	s := p.read(name)
	inForce := p.inForce(&s, nil, otherwise)
	p.report(s, []Setting{inForce})
	return inForce
}

// options reads the keys of all ports.
func (p *parser) options(ports []ServicePort) {
	keys := [...]string{
		annotation.Scheduler, annotation.SchedulerFlags, annotation.SlowStart, annotation.MaxConnections,
		annotation.DrainTimeout, annotation.OnePacket,
	}
	for i := range ports {
		ports[i].Settings = make([]Setting, 0, len(keys))
	}
	all := make([]Setting, 0, len(ports))
	for _, name := range keys {
		s := p.read(name)
		p.portsNamed(s, ports)
		all = all[:0]
		for i := range ports {
			port := &ports[i]
			setting := p.inForce(&s, port, portDefault(name, *port))
			setting = p.apply(port, setting)
			port.Settings = append(port.Settings, setting)
			all = append(all, setting)
		}
		p.report(s, all)
	}
	p.withoutEffect(ports)
}

// portDefault is in force where neither the Service nor the operator says anything. Of schedulers
// [parser.schedulerByDefault] may know a better one.
func portDefault(key string, port ServicePort) string {
	switch key {
	case annotation.Scheduler:
		return scheduler.Default
	case annotation.SchedulerFlags:
		return chosen(port).Default.String()
	case annotation.OnePacket:
		return "false"
	case annotation.DrainTimeout:
		return DefaultDrainTimeout.String()
	}
	return ""
}

// DefaultDrainTimeout is in force where neither an annotation nor the configuration has another.
const DefaultDrainTimeout = 15 * time.Minute

func chosen(port ServicePort) scheduler.Scheduler {
	s, _ := scheduler.Lookup(port.Setting(annotation.Scheduler).Value)
	return s
}

// apply carries a setting into the port, as far as it can be, and returns what is in force.
func (p *parser) apply(port *ServicePort, setting Setting) Setting {
	switch setting.Key {
	case annotation.Scheduler:
		if setting.Source == SourceDefault {
			setting = p.schedulerByDefault(port)
		}
		setting = p.available(port, setting)
		port.Scheduler = setting.Value
	case annotation.SchedulerFlags:
		if byAffinity(*port) {
			setting = Setting{setting.Key, affinityFlags.String(), SourceAffinity}
		}
		port.Flags = annotation.ParseFlags(setting.Value) & chosen(*port).Supported
		setting.Value = port.Flags.String()
	case annotation.SlowStart:
		port.SlowStart = annotation.ParseDuration(setting.Value)
		if !chosen(*port).SlowStart {
			port.SlowStart, setting.Value = 0, ""
		}
	case annotation.MaxConnections:
		port.Limit = annotation.ParseLimit(setting.Value)
		setting.Value = port.Limit.String()
	case annotation.DrainTimeout:
		port.DrainTimeout = annotation.ParseDuration(setting.Value)
	case annotation.OnePacket:
		port.OnePacket = annotation.ParseBool(setting.Value) && port.Protocol == UDP
		setting.Value = fmt.Sprint(port.OnePacket)
	}
	return setting
}

// available returns the choice, or what is in force instead of one that this node's kernel lacks.
func (p *parser) available(port *ServicePort, setting Setting) Setting {
	if p.has(setting.Value) {
		return setting
	}
	lacking, _ := scheduler.Lookup(setting.Value)
	instead := p.in.Operator.setting(p.in.Service.Namespace, annotation.Scheduler, scheduler.Default)
	if instead.Source == SourceDefault || !p.has(instead.Value) {
		instead = p.schedulerByDefault(port)
	}
	if p.in.LastGood != nil {
		if value, known := p.in.LastGood(annotation.Scheduler, port); known && p.has(value) {
			instead = Setting{annotation.Scheduler, value, SourceLastGood}
		}
	}
	field := annotation.Field(annotation.Prefix + annotation.Scheduler)
	if !strings.HasPrefix(setting.Source, "annotation") {
		field = setting.Source
	}
	p.problem(UnsupportedScheduler, field, "the kernel of this node has no scheduler %s (module ip_vs_%s); it has %s; in force is %s (%s)",
		lacking.Name, lacking.Kernel, strings.Join(p.in.KernelSchedulers, ", "), instead.Value, instead.Source)
	return instead
}

// portsNamed reports ports that the value names and the Service does not have.
func (p *parser) portsNamed(s written, ports []ServicePort) {
	if _, all := s.values[annotation.AllPorts]; len(s.values) == 0 || all && len(s.values) == 1 {
		return
	}
	var words []string
	known := map[string]struct{}{annotation.AllPorts: {}}
	for _, port := range ports {
		for _, word := range []string{strings.ToLower(port.Name), strconv.Itoa(int(port.Port))} {
			known[word] = struct{}{}
			if len(words) < budget.LookupWords {
				words = append(words, word)
			}
		}
	}
	var names []string
	for name := range s.values {
		if _, has := known[name]; !has {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return
	}
	slices.Sort(names)
	for i, name := range names {
		if i < budget.Lookups {
			names[i] = budget.Short(name) + didYouMean(name, words)
		}
	}
	p.problem(AnnotationWithoutEffect, annotation.Field(strings.TrimPrefix(s.source, "annotation ")),
		"the service has no port %s; the rest is in force", budget.List(names))
}

// withoutEffect reports annotations that change nothing because of other settings.
func (p *parser) withoutEffect(ports []ServicePort) {
	says := func(key string) (string, bool) {
		s := p.read(key)
		return strings.TrimPrefix(s.source, "annotation "), s.values != nil
	}
	report := func(key, why string, useful func(ServicePort) bool, wants func(string) bool) {
		written, said := says(key)
		values := p.read(key).values
		if !said {
			return
		}
		wanted := slices.ContainsFunc(sortedKeys(values), func(name string) bool { return wants(values[name]) })
		if wanted && !slices.ContainsFunc(ports, useful) {
			p.problem(AnnotationWithoutEffect, annotation.Field(written), "%s has no effect: %s",
				budget.Quote(values.String()), why)
		}
	}
	if len(p.in.Service.Annotations) == 0 {
		return
	}
	anything := func(string) bool { return true }
	flagged := scheduler.NamesOf(func(s scheduler.Scheduler) bool { return s.Supported != 0 })
	flagless := "of the schedulers only " + strings.Join(flagged, " and ") + " have flags; in force is none"
	inForce := scheduler.Flags(0)
	if p.sticky && slices.ContainsFunc(ports, unchosen) { // on every node, whether its kernel has a hash or not
		flagless, inForce = "session affinity chooses the scheduler, and its flags with it; name a scheduler to choose others", affinityFlags
	}
	report(annotation.SchedulerFlags, flagless,
		func(port ServicePort) bool { return chosen(port).Supported != 0 && !byAffinity(port) },
		func(value string) bool { return value != inForce.String() })
	slowStarters := scheduler.NamesOf(func(s scheduler.Scheduler) bool { return s.SlowStart })
	report(annotation.SlowStart, "it needs a scheduler that goes by growing weights ("+strings.Join(slowStarters, ", ")+
		"); in force is off",
		func(port ServicePort) bool { return chosen(port).SlowStart },
		func(value string) bool { return annotation.ParseDuration(value) > 0 })
	report(annotation.OnePacket, "the service has no UDP port; in force is false",
		func(port ServicePort) bool { return port.Protocol == UDP }, annotation.ParseBool)
	report(annotation.Weight, "no port has a scheduler that goes by weights; of weights only 0 counts",
		func(port ServicePort) bool { return chosen(port).Weighted }, anything)
}

// cautions says what an author may not expect of a scheduler.
func (p *parser) cautions(ports []ServicePort) {
	for _, port := range ports {
		s, setting := chosen(port), port.Setting(annotation.Scheduler)
		even := !slices.ContainsFunc(port.Endpoints, func(e Endpoint) bool { return e.Weight > 1 })
		for _, caution := range []struct {
			text string
			due  bool
		}{{s.Caution, true}, {s.CautionUnweighted, even}} {
			if caution.text != "" && caution.due && setting.Source != SourceDefault {
				p.problem(UnsuitableScheduler, "scheduler "+s.Name, "%s; it is in force", caution.text)
			}
		}
		if most := most(port.Endpoints); s.Places > 0 && most > s.Places {
			p.problem(UnsuitableScheduler, "scheduler "+s.Name,
				"its table in the kernel has %d places, and port %d/%s has %d endpoints: those beyond get no connections; allowed are at most %d; it is in force",
				s.Places, port.Port, port.Protocol, most, s.Places)
		}
	}
}

// most returns how many endpoints with a weight the port has in the family that has more of them.
func most(endpoints []Endpoint) int {
	var n [2]int
	for _, e := range endpoints {
		if e.Ready && e.Weight > 0 {
			family := 0
			if e.Addr.Is6() {
				family = 1
			}
			n[family]++
		}
	}
	return max(n[0], n[1])
}

// exposure reads which addresses are to be served.
func (p *parser) exposure(s *Service) {
	setting := p.serviceSetting(annotation.Expose, "")
	s.Settings = append(s.Settings, setting)
	exposed := func(word string) bool {
		return setting.Value == "" || slices.Contains(strings.Split(setting.Value, ","), word)
	}
	s.ClusterIPHidden = !exposed("cluster-ip")
	if !exposed("external-ip") {
		s.ExternalIPs = nil
	}
	if !exposed("load-balancer") {
		s.LoadBalancerIPs = nil
	}
	if !exposed("node-port") {
		for i := range s.Ports {
			s.Ports[i].NodePort = 0
		}
	}
}

// others reads the keys that have no effect on front ends, and those annotations of other projects that have an effect
// and no key of ours.
func (p *parser) others(s *Service) {
	p.serviceSetting(annotation.Forwarding, "nat")
	annotations := p.in.Service.Annotations
	unknownKeys(&p.problems, "", annotation.Service, annotations)
	if p.in.NoAliases {
		return
	}
	if _, written := annotations[annotation.KubeRouterDSR]; written {
		p.problem(InvalidAnnotation, annotation.Field(annotation.KubeRouterDSR),
			"direct return is not built; in force is forwarding nat")
	}
	if strings.EqualFold(strings.TrimSpace(annotations[annotation.KubeRouterLocal]), "true") {
		s.ExternalLocal = true
	}
}

func didYouMean(word string, known []string) string {
	if near, found := spelling.Nearest(strings.ToLower(strings.TrimSpace(word)), known); found {
		return fmt.Sprintf(" (did you mean %s?)", near)
	}
	return ""
}

// Ignored reports whether the Service is to be left alone. A value that cannot be read leaves it as it was before; the
// Problem says so.
func Ignored(s *v1.Service, before bool) (ignored bool, problems Problems) {
	p := parser{
		in: Input{Service: s, LastGood: func(string, *ServicePort) (string, bool) { return fmt.Sprint(before), before }},
	}
	ignored = annotation.ParseBool(p.serviceSetting(annotation.Ignore, "false").Value)
	return ignored, p.problems
}
