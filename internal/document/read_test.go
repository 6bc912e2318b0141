package document

import (
	"strings"
	"testing"
)

func all(t *testing.T, text string, repeated func(Mistake)) (objects []*Object, err error) {
	t.Helper()
	for o, err := range Read([]byte(text), repeated) {
		if err != nil {
			return objects, err
		}
		objects = append(objects, o)
	}
	return objects, nil
}

// TestKeysThatStandTwice: they end the reading, unless somebody takes the mistake. Then the last one counts.
func TestKeysThatStandTwice(t *testing.T) {
	const text = "kind: A\n---\nkind: B\nkind: C\n---\nkind: D\n"
	if objects, err := all(t, text, nil); len(objects) != 1 || err == nil ||
		!strings.HasPrefix(err.Error(), "line 4 (document 2): ") {
		t.Errorf("%d objects, %v; want A, and a mistake in line 4", len(objects), err)
	}
	var mistakes []string
	objects, err := all(t, text, func(m Mistake) { mistakes = append(mistakes, m.Error()) })
	if err != nil || len(objects) != 3 || objects[1].Kind != "C" || len(mistakes) != 1 ||
		!strings.HasPrefix(mistakes[0], "line 4 (document 2): ") {
		t.Errorf("%v, %q, %v; want A, C, D, and one mistake", objects, mistakes, err)
	}
	if _, err := all(t, "kind: [\n", func(m Mistake) { t.Errorf("%v is no key that stands twice", m) }); err == nil {
		t.Error("what is not YAML is read")
	}
}

// TestDecode: upper and lower case differ, and what is left out is named.
func TestDecode(t *testing.T) {
	objects, err := all(t, "kind: A\nmetadata: {name: a, namespace: b}\nMode: b\nmode: a\n", nil)
	if err != nil || len(objects) != 1 {
		t.Fatal(objects, err)
	}
	var got struct {
		Kind, Mode string
		Metadata   map[string]string
	}
	leftOut, wrong := objects[0].Decode(&got)
	if wrong != nil || got.Mode != "b" {
		t.Errorf("Mode is %q, %v; encoding/json would have read mode", got.Mode, wrong)
	}
	want := "line 1 (document 1): A b/a: kind: unknown field; line 2 (document 1): A b/a: metadata: unknown field; line 4 (document 1): A b/a: mode: unknown field"
	var texts []string
	for _, m := range leftOut {
		texts = append(texts, m.Error())
	}
	if text := strings.Join(texts, "; "); text != want {
		t.Errorf("left out: %s\nwant %s", text, want)
	}
}
