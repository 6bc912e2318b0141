package manifests

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/cluster"
)

// Found is what stands in one place of a file: an object that is read, one of another kind, or one with mistakes.
type Found struct {
	key objectKey
	// Document counts from 1. Line is the file's line in which the document begins.
	Document, Line int
	// Value is a *v1.Service, *discovery.EndpointSlice or *v1.Node, completed as the API server would. It is nil for another kind, and where a
	// mistake leaves nothing to look at.
	Value Value
	// Mistakes are what the API server would refuse, as far as this program relies on it: at most budget.Problems.
	Mistakes []Mistake
	// Untyped tells that neither apiVersion nor kind is there, as in a kustomization or in the values of a chart.
	Untyped bool
}

// String returns "Service default/web", without the name where there is none.
func (f Found) String() string { return f.key.String() }

// Mistake is what is wrong in a file, and where.
type Mistake struct {
	// Document counts from 1, and Line from the beginning of the file.
	Document, Line int
	// Object is "Service default/web", and Field "spec.ports[0].port". Either may be empty.
	Object, Field string
	Text          string
}

// Error implements error.
func (m Mistake) Error() string {
	text := fmt.Sprintf("line %d (document %d)", m.Line, m.Document)
	for _, part := range []string{m.Object, m.Field, m.Text} {
		if part != "" {
			text += ": " + part
		}
	}
	return text
}

// Read reads a file: documents between lines of "---", each an object or a List of objects. The error is a [Mistake]: a document that is
// not YAML, which leaves nothing of the file.
func Read(content []byte) (found []Found, err error) {
	line, number := 1, 0
	for _, text := range split(content) {
		d := document{text: text, begin: line}
		line += bytes.Count(text, []byte("\n"))
		blank, empty := leadingBlank(text)
		if empty {
			continue
		}
		number++
		d.number, d.line = number, d.begin+blank
		of, err := d.read()
		if err != nil {
			return nil, err
		}
		found = append(found, of...)
	}
	return found, nil
}

// split cuts a file in front of its lines of "---".
func split(content []byte) [][]byte {
	var documents [][]byte
	start, at := 0, 0
	for line := range bytes.Lines(content) {
		if _, separates := afterSeparator(line); separates && at > start {
			documents = append(documents, content[start:at])
			start = at
		}
		at += len(line)
	}
	return append(documents, content[start:])
}

// afterSeparator returns what stands in a line behind the "---" that begins a document.
func afterSeparator(line []byte) ([]byte, bool) {
	rest, has := bytes.CutPrefix(line, []byte("---"))
	return rest, has && (len(rest) == 0 || bytes.ContainsRune([]byte(" \t\r\n"), rune(rest[0])))
}

// leadingBlank counts the lines before the first one that says something. A document without such a line is empty.
func leadingBlank(document []byte) (n int, empty bool) {
	for line := range bytes.Lines(document) {
		if rest, separates := afterSeparator(line); separates {
			line = rest
		}
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
			return n, false
		}
		n++
	}
	return n, true
}

// document is one of a file.
type document struct {
	text []byte
	// number counts the documents from 1. begin is the line of the file where the text begins, line that in which it first says something.
	number, begin, line int
	nodes               nodes
	found               []Found
}

// yamlLine is how the library says where a mistake is: in its text alone.
var yamlLine = regexp.MustCompile(`line (\d+): `)

func (d *document) read() ([]Found, error) {
	data, err := yaml.YAMLToJSONStrict(d.text)
	if err != nil {
		text := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "error converting YAML to JSON: "), "yaml: ")
		line := d.line
		if at := yamlLine.FindStringSubmatch(text); at != nil {
			of, _ := strconv.Atoi(at[1])
			line, text = d.begin+of-1, strings.Replace(text, at[0], "", 1)
		}
		return nil, Mistake{Document: d.number, Line: line, Text: text}
	}
	if !bytes.Equal(bytes.TrimSpace(data), []byte("null")) {
		d.object(data, "", metav1.TypeMeta{})
	}
	return d.found, nil
}

// object reads what stands at a path of the document, which ends in a dot or is empty. An item of a list whose items are all of one type need not
// name it.
func (d *document) object(data []byte, path string, usual metav1.TypeMeta) {
	found := Found{Document: d.number, Line: d.line}
	var head struct {
		metav1.TypeMeta `json:",inline"`
		Metadata        json.RawMessage `json:"metadata"`
		Items           json.RawMessage `json:"items"`
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(data, &head); err != nil {
		found.wrong(d, path, "", "this is not a Kubernetes object: %v", err)
		d.found = append(d.found, found)
		return
	}
	if found.Untyped = head.TypeMeta == (metav1.TypeMeta{}); found.Untyped {
		head.TypeMeta = usual
	}
	found.key = objectKey{head.Kind, nameIn(head.Metadata)}
	reading, meant := kindOf(head.TypeMeta)
	switch reading {
	case list:
		d.list(found, head.TypeMeta, head.Items, path)
		return
	case single:
		found.decode(d, path, data)
	case mistaken:
		found.wrong(d, path, "", "apiVersion %q kind %q is not read here%s; allowed are v1 Service, discovery.k8s.io/v1 EndpointSlice, v1 Node and v1 List",
			head.APIVersion, head.Kind, meant)
	}
	d.found = append(d.found, found)
}

func (d *document) list(found Found, of metav1.TypeMeta, data []byte, path string) {
	var items []json.RawMessage
	if err := json.Unmarshal(data, &items); len(data) > 0 && err != nil {
		found.wrong(d, path, "items", "this is not a list")
		d.found = append(d.found, found)
		return
	}
	usual := metav1.TypeMeta{APIVersion: of.APIVersion, Kind: strings.TrimSuffix(of.Kind, "List")}
	if usual.Kind == "" {
		usual = metav1.TypeMeta{}
	}
	for i, item := range items {
		d.object(item, fmt.Sprintf("%sitems[%d].", path, i), usual)
	}
}

// nameIn returns what can be read of an object's name.
func nameIn(metadata []byte) cluster.Name {
	var named struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	}
	_ = kjson.UnmarshalCaseSensitivePreserveInts(metadata, &named)
	return cluster.Name{Namespace: named.Namespace, Name: named.Name}
}

// decode reads an object of a kind that is read.
func (f *Found) decode(d *document, path string, data []byte) {
	value := empty(f.key.kind)
	// Unlike encoding/json this one minds upper and lower case, as the API server does: clusterIp is not clusterIP.
	strict, err := kjson.UnmarshalStrict(data, value)
	if err != nil {
		field, text := mistakenType(data, f.key.kind, err)
		f.wrong(d, path, field, "%s", text)
		return
	}
	f.Value = value
	f.key.name = complete(f.key.kind, value)
	for _, err := range strict {
		field := ""
		if of, is := err.(kjson.FieldError); is {
			field = of.FieldPath()
		}
		what, _, _ := strings.Cut(err.Error(), ` "`)
		f.wrong(d, path, field, "%s", what)
	}
	check(value, func(field, format string, args ...any) { f.wrong(d, path, field, format, args...) })
}

// mistakenType returns the field whose value is of another type than the object has, and what is wrong with it.
func mistakenType(data []byte, kind string, err error) (field, text string) {
	var wrong *json.UnmarshalTypeError
	if !errors.As(json.Unmarshal(data, empty(kind)), &wrong) { // the other library does not show its own
		return "", err.Error()
	}
	return pathAt(data, wrong.Offset), fmt.Sprintf("this is of type %s; allowed is %s", wrong.Value, wrong.Type)
}

// wrong adds a mistake, unless there are enough of them.
func (f *Found) wrong(d *document, path, field, format string, args ...any) {
	if len(f.Mistakes) == budget.Problems {
		return
	}
	object := f.key.String()
	if f.key.name.Name == "" && path != "" {
		object = strings.TrimSpace(strings.TrimSuffix(path, ".") + " " + object)
	}
	f.Mistakes = append(f.Mistakes, Mistake{d.number, d.lineOf(path + field), object, field, fmt.Sprintf(format, args...)})
}
