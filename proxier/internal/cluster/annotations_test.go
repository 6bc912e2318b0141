package cluster_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

func annotatedWith(annotations map[string]string) *v1.Service {
	return shopService(func(s *v1.Service) { s.Annotations = annotations })
}

func TestSchedulerChoice(t *testing.T) {
	chosen := func(text string) map[string]string { return map[string]string{cluster.AnnotationScheduler: text} }
	operator := cluster.Schedulers{Default: "lc", Namespaces: map[string]string{"shop": "sh", "other": "rr"}}
	for name, c := range map[string]struct {
		annotations map[string]string
		operator    cluster.Schedulers
		lastGood    string
		want        cluster.Choice
		problems    []string
	}{
		"nothing":                  {nil, cluster.Schedulers{}, "", cluster.Choice{Scheduler: "rr", Source: cluster.SourceDefault}, nil},
		"the operator's":           {nil, cluster.Schedulers{Default: "lc"}, "", cluster.Choice{Scheduler: "lc", Source: cluster.SourceConfig}, nil},
		"the namespace's":          {nil, operator, "", cluster.Choice{Scheduler: "sh", Source: cluster.SourceNamespace}, nil},
		"another namespace's":      {nil, cluster.Schedulers{Namespaces: map[string]string{"other": "lc"}}, "", cluster.Choice{Scheduler: "rr", Source: cluster.SourceDefault}, nil},
		"last good does not stick": {nil, operator, "lc", cluster.Choice{Scheduler: "sh", Source: cluster.SourceNamespace}, nil},
		"the annotation":           {chosen("lc"), operator, "rr", cluster.Choice{Scheduler: "lc", Source: cluster.SourceAnnotation}, nil},
		"a long name":              {chosen("least-connection"), operator, "", cluster.Choice{Scheduler: "lc", Source: cluster.SourceAnnotation}, nil},
		"case and space":           {chosen(" Round-Robin\n"), operator, "", cluster.Choice{Scheduler: "rr", Source: cluster.SourceAnnotation}, nil},
		"a typing error": {chosen("least-conection"), cluster.Schedulers{}, "", cluster.Choice{Scheduler: "rr", Source: cluster.SourceDefault},
			[]string{`InvalidAnnotation metadata.annotations[ipvs-proxier.io/scheduler] "least-conection" mean least-connection? lc, rr, sh else rr (default)`}},
		"a typing error while something runs": {chosen("least-conection"), operator, "lc", cluster.Choice{Scheduler: "lc", Source: cluster.SourceLastGood},
			[]string{"InvalidAnnotation least-conection what the kernel runs stays in force, else sh (configuration of the namespace)"}},
		"a typing error under the operator's choice": {chosen("x"), cluster.Schedulers{Default: "lc"}, "", cluster.Choice{Scheduler: "lc", Source: cluster.SourceConfig},
			[]string{`"x" else lc (configuration)`}},
		"empty":                               {chosen(""), operator, "", cluster.Choice{Scheduler: "sh", Source: cluster.SourceNamespace}, []string{`InvalidAnnotation "" lc, rr, sh else sh`}},
		"only space":                          {chosen("  "), operator, "", cluster.Choice{Scheduler: "sh", Source: cluster.SourceNamespace}, []string{`InvalidAnnotation else sh`}},
		"two":                                 {chosen("rr,lc"), operator, "rr", cluster.Choice{Scheduler: "rr", Source: cluster.SourceLastGood}, []string{`"rr,lc" else sh`}},
		"a kernel scheduler that is not ours": {chosen("dh"), operator, "", cluster.Choice{Scheduler: "sh", Source: cluster.SourceNamespace}, []string{`"dh" else sh`}},
		"an unknown key": {map[string]string{"ipvs-proxier.io/schedular": "lc"}, cluster.Schedulers{}, "", cluster.Choice{Scheduler: "rr", Source: cluster.SourceDefault},
			[]string{"UnknownAnnotation metadata.annotations[ipvs-proxier.io/schedular] mean ipvs-proxier.io/scheduler? no effect"}},
		"an unknown key beside a good one": {map[string]string{"ipvs-proxier.io/wait": "1", cluster.AnnotationScheduler: "lc"}, cluster.Schedulers{}, "",
			cluster.Choice{Scheduler: "lc", Source: cluster.SourceAnnotation}, []string{"UnknownAnnotation ipvs-proxier.io/wait known are no effect"}},
		"an unknown key beside a bad value": {map[string]string{"ipvs-proxier.io/wait": "1", cluster.AnnotationScheduler: "1"}, cluster.Schedulers{}, "",
			cluster.Choice{Scheduler: "rr", Source: cluster.SourceDefault}, []string{"InvalidAnnotation", "UnknownAnnotation"}},
		"keys of others": {map[string]string{"example.io/scheduler": "lc", "scheduler": "lc", "ipvs-proxier.iox/scheduler": "lc"}, cluster.Schedulers{}, "",
			cluster.Choice{Scheduler: "rr", Source: cluster.SourceDefault}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := cluster.Parse(cluster.Input{Service: annotatedWith(c.annotations), NodeName: "n1", Schedulers: c.operator, LastGood: c.lastGood})
			if choice := got.Ports[0].Choice; choice != c.want {
				t.Errorf("choice %+v, want %+v", choice, c.want)
			}
			wantProblems(t, got.Problems, c.problems...)
		})
	}
}

// TestAllNodesSeeTheSameProblem: whatever their kernels run.
func TestAllNodesSeeTheSameProblem(t *testing.T) {
	var seen [][]cluster.Problem
	for _, lastGood := range []string{"", "lc"} {
		in := cluster.Input{Service: annotatedWith(map[string]string{cluster.AnnotationScheduler: "fastest"}), NodeName: "n1", LastGood: lastGood}
		seen = append(seen, cluster.Parse(in).Problems)
	}
	if diff := cmp.Diff(seen[0], seen[1]); diff != "" || len(seen[0]) != 1 {
		t.Errorf("(-new node +node that runs lc):\n%s", diff)
	}
}

// TestEveryPortHasTheChoice: the annotation is the Service's, not a port's.
func TestEveryPortHasTheChoice(t *testing.T) {
	got := parse(shopService(func(s *v1.Service) {
		s.Annotations[cluster.AnnotationScheduler] = "sh"
		s.Spec.Ports = append(s.Spec.Ports, v1.ServicePort{Name: "dns", Protocol: v1.ProtocolUDP, Port: 53})
	}))
	if len(got.Ports) != 2 {
		t.Fatalf("%d ports, want 2", len(got.Ports))
	}
	for _, port := range got.Ports {
		if port.Choice.Scheduler != "sh" {
			t.Errorf("port %s has %+v", port.Name, port.Choice)
		}
	}
}

// FuzzAnnotation: whatever is written, a registered scheduler is in force, and what was not honoured is told once.
func FuzzAnnotation(f *testing.F) {
	for _, seed := range []string{"", "rr", "LC", "source-hashing", "least-conection", "rr,lc", "\xff", "ſh", strings.Repeat("r", 1000)} {
		f.Add("ipvs-proxier.io/scheduler", seed, "lc")
		f.Add("ipvs-proxier.io/"+seed, "rr", "")
	}
	f.Fuzz(func(t *testing.T, key, value, lastGood string) {
		if s, known := scheduler.Lookup(lastGood); !known || s.Name != lastGood {
			lastGood = ""
		}
		got := cluster.Parse(cluster.Input{Service: annotatedWith(map[string]string{key: value}), Schedulers: cluster.Schedulers{Default: "sh"}, LastGood: lastGood})
		choice := got.Ports[0].Choice
		if !slices.Contains(scheduler.Names(), choice.Scheduler) {
			t.Errorf("%q: %q puts %+v in force", key, value, choice)
		}
		honoured := choice.Source == cluster.SourceAnnotation
		ours := strings.HasPrefix(key, cluster.AnnotationPrefix)
		if told := len(got.Problems) == 1; told != (ours && !honoured) || len(got.Problems) > 1 {
			t.Errorf("%q: %q: choice %+v, problems %q", key, value, choice, got.Problems)
		}
	})
}
