package document

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// Object is what stands in one place of a file.
type Object struct {
	// TypeMeta is as it is written, or as the List around it says where nothing is written: Untyped.
	metav1.TypeMeta
	Untyped bool
	// Namespace and Name are as they are written.
	Namespace, Name string
	// Document counts from 1. Line is the file's line in which the document begins.
	Document, Line int
	// Wrong says why this is no object at all, and nothing else of it counts; nil where it is one.
	Wrong *Mistake

	in *document
	// path leads to it within the document. It ends in a dot, or is empty.
	path        string
	data, items json.RawMessage
}

// document is one of a file.
type document struct {
	text []byte
	// begin is the line of the file where the text begins.
	number, begin, line int
	nodes               nodes
}

// Read yields the object of each document. A document that is not YAML ends it with an error, which is a [Mistake]. So
// does a key that stands twice in a map, unless there is a function that takes this mistake: then the last one counts.
func Read(content []byte, repeated func(Mistake)) iter.Seq2[*Object, error] {
	return func(yield func(*Object, error) bool) {
		line, number := 1, 0
		for _, text := range split(content) {
			d := &document{text: text, begin: line}
			line += bytes.Count(text, []byte("\n"))
			blank, empty := leadingBlank(text)
			if empty {
				continue
			}
			number++
			d.number, d.line = number, d.begin+blank
			data, err := d.json(repeated)
			switch {
			case err != nil:
				yield(nil, err)
				return
			case bytes.Equal(bytes.TrimSpace(data), []byte("null")):
			case !yield(d.object(data, "", metav1.TypeMeta{}), nil):
				return
			}
		}
	}
}

// yamlLine is how the library says where a mistake is: in its text alone.
var yamlLine = regexp.MustCompile(`line (\d+): `)

func (d *document) json(repeated func(Mistake)) ([]byte, error) {
	data, err := yaml.YAMLToJSONStrict(d.text)
	if err == nil {
		return data, nil
	}
	text := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "error converting YAML to JSON: "), "yaml: ")
	mistake := Mistake{Document: d.number, Line: d.line}
	if at := yamlLine.FindStringSubmatch(text); at != nil {
		of, _ := strconv.Atoi(at[1])
		mistake.Line, text = d.begin+of-1, strings.Replace(text, at[0], "", 1)
	}
	mistake.Text = strings.ReplaceAll(strings.TrimPrefix(text, "unmarshal errors:\n  "), "\n  ", "; ")
	if repeated != nil {
		if data, err := yaml.YAMLToJSON(d.text); err == nil {
			repeated(mistake)
			return data, nil
		}
	}
	return nil, mistake
}

// object reads what can be read of any object. Its type is the usual one where it has none.
func (d *document) object(data json.RawMessage, path string, usual metav1.TypeMeta) *Object {
	o := &Object{Document: d.number, Line: d.line, in: d, path: path, data: data}
	var head struct {
		metav1.TypeMeta `json:",inline"`
		Metadata        json.RawMessage `json:"metadata"`
		Items           json.RawMessage `json:"items"`
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(data, &head); err != nil {
		wrong := o.Mistake("", "this is not a Kubernetes object: %v", err)
		o.Wrong = &wrong
		return o
	}
	if o.Untyped = head.TypeMeta == (metav1.TypeMeta{}); o.Untyped {
		head.TypeMeta = usual
	}
	var named struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	}
	_ = kjson.UnmarshalCaseSensitivePreserveInts(head.Metadata, &named)
	o.TypeMeta, o.Namespace, o.Name, o.items = head.TypeMeta, named.Namespace, named.Name, head.Items
	return o
}

// String returns "Service default/web", "Node n1", or the kind alone where there is no name.
func (o *Object) String() string {
	switch {
	case o.Name == "":
		return o.Kind
	case o.Namespace == "":
		return o.Kind + " " + o.Name
	}
	return o.Kind + " " + o.Namespace + "/" + o.Name
}

// Items returns what is in a List, or what is wrong with it. An item of a list whose items are all of one type need not
// name it.
func (o *Object) Items() (objects []*Object, wrong *Mistake) {
	var items []json.RawMessage
	if err := json.Unmarshal(o.items, &items); len(o.items) > 0 && err != nil {
		wrong := o.Mistake("items", "this is not a list")
		return nil, &wrong
	}
	usual := metav1.TypeMeta{APIVersion: o.APIVersion, Kind: strings.TrimSuffix(o.Kind, "List")}
	if usual.Kind == "" {
		usual = metav1.TypeMeta{}
	}
	for i, item := range items {
		objects = append(objects, o.in.object(item, fmt.Sprintf("%sitems[%d].", o.path, i), usual))
	}
	return objects, nil
}

// Decode reads the object into what a pointer leads to. It leaves out fields that are not there, and returns them. A
// value of another type is wrong. Unlike encoding/json it minds upper and lower case, as the API server does: clusterIp
// is not clusterIP.
func (o *Object) Decode(into any) (leftOut []Mistake, wrong *Mistake) {
	mistakes, err := kjson.UnmarshalStrict(o.data, into)
	if err != nil {
		field, text := mistakenType(o.data, reflect.New(reflect.TypeOf(into).Elem()).Interface(), err)
		wrong := o.Mistake(field, "%s", text)
		return nil, &wrong
	}
	for _, err := range mistakes {
		field := ""
		if of, is := err.(kjson.FieldError); is {
			field = of.FieldPath()
		}
		what, _, _ := strings.Cut(err.Error(), ` "`)
		leftOut = append(leftOut, o.Mistake(field, "%s", what))
	}
	return leftOut, nil
}

// mistakenType returns the field whose value is of another type than an empty object has, and what is wrong with it.
func mistakenType(data []byte, empty any, err error) (field, text string) {
	var wrong *json.UnmarshalTypeError
	if !errors.As(json.Unmarshal(data, empty), &wrong) { // the other library does not show its own
		return "", err.Error()
	}
	return pathAt(data, wrong.Offset), fmt.Sprintf("this is of type %s; allowed is %s", wrong.Value, wrong.Type)
}

// Mistake returns what is wrong with a field of the object. "" is the whole object.
func (o *Object) Mistake(field, format string, args ...any) Mistake {
	object := o.String()
	if o.Name == "" && o.path != "" {
		object = strings.TrimSpace(strings.TrimSuffix(o.path, ".") + " " + object)
	}
	return Mistake{o.Document, o.in.lineOf(o.path + field), object, field, fmt.Sprintf(format, args...)}
}
