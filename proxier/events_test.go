package proxier

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime"

	v1 "k8s.io/api/core/v1"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// lines records Events as text.
type lines struct{ text []string }

func (l *lines) Eventf(regarding, _ runtime.Object, kind, reason, action, note string, args ...any) {
	o := regarding.(*v1.ObjectReference)
	l.text = append(l.text, fmt.Sprintf("%s %s/%s %s %q version %q: %s %s %s: %s", o.Kind, o.Namespace, o.Name, o.UID, o.FieldPath, o.ResourceVersion, kind, reason, action, fmt.Sprintf(note, args...)))
}

// TestEventsOfProblems: each Problem is told once, a mended Service is told of, one that is gone is not.
func TestEventsOfProblems(t *testing.T) {
	l := &lines{}
	o := newEventObserver(l)
	a := cluster.Problem{Reason: cluster.InvalidField, Field: "f", Message: "a 100% mistake"}
	b := cluster.Problem{Reason: cluster.FrontEndConflict, Field: "g", Message: strings.Repeat("long ", 500)}
	row := func(problems ...cluster.Problem) Report {
		r := testRow("web", "rr", problems...)
		r.UID, r.Version = "u1", "7"
		return Report{Changed: []Row{r}}
	}
	for _, step := range []struct {
		report Report
		want   []string
	}{
		{row(), nil},
		{row(a), []string{`Service ns/web u1 "f" version "7": Warning InvalidField Programming: f: a 100% mistake`}},
		{row(a), nil},
		{row(a, b), []string{`Service ns/web u1 "g" version "7": Warning FrontEndConflict Programming: ` + ("g: " + strings.Repeat("long ", 500))[:1021] + "..."}},
		{row(b), nil},
		{row(), []string{`Service ns/web u1 "" version "7": Normal Recovered Programming: everything that the Service asks for is carried out`}},
		{row(a), []string{`Service ns/web u1 "f" version "7": Warning InvalidField Programming: f: a 100% mistake`}},
		{Report{Changed: []Row{{Name: cluster.Name{Namespace: "ns", Name: "web"}, Gone: true}}}, nil},
	} {
		l.text = nil
		o.Observe(step.report)
		if diff := cmp.Diff(step.want, l.text); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// TestNotesStayText: a note is cut between letters, because the API takes no others.
func TestNotesStayText(t *testing.T) {
	for _, c := range []struct{ note, want string }{
		{strings.Repeat("a", 1024), strings.Repeat("a", 1024)},
		{strings.Repeat("a", 1025), strings.Repeat("a", 1021) + "..."},
		{strings.Repeat("a", 1020) + "ééé", strings.Repeat("a", 1020) + "..."},
	} {
		if got := limited(c.note); got != c.want {
			t.Errorf("%d bytes that end in %q, want %d that end in %q", len(got), got[len(got)-5:], len(c.want), c.want[len(c.want)-5:])
		}
	}
}
