package proxier

import (
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ipvs-proxier/ipvs-proxier/internal/golden"
)

// TestGeneratedChartSchema: the schema of the chart's values has each option below config, as the table says, so that
// helm refuses one that is misspelt. The rest of the schema is written by hand.
func TestGeneratedChartSchema(t *testing.T) {
	const path = "../deploy/chart/values.schema.json"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	schema["properties"].(map[string]any)["config"] = chartOptions()
	var out strings.Builder
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(schema); err != nil {
		t.Fatal(err)
	}
	golden.Compare(t, path, out.String())
}

// object is a part of a JSON schema.
type object = map[string]any

// chartOptions is the schema of a configuration file without its type, and without the name of the node, which is
// another one in each pod.
func chartOptions() object {
	fields := object{}
	for _, o := range Options() {
		if o.Field == "nodeName" {
			continue
		}
		within, name, is := strings.Cut(o.Field, ".")
		if !is {
			fields[within] = chartOption(o)
			continue
		}
		if fields[within] == nil {
			fields[within] = object{"type": "object", "additionalProperties": false, "properties": object{}}
		}
		fields[within].(object)["properties"].(object)[name] = chartOption(o)
	}
	return object{
		"type": "object", "additionalProperties": false, "properties": fields,
		"description": "The configuration file of ipvs-proxier, option by option",
	}
}

// duration is what time.ParseDuration reads, but for negative ones.
const duration = `^(0|([0-9]+(\.[0-9]*)?(ns|us|µs|ms|s|m|h))+)$`

// markdownLink is a link; its target without a heading is the second group.
var markdownLink = regexp.MustCompile(`\[([^\]]*)\]\(([^)#]*)[^)]*\)`)

func chartOption(o Option) object {
	d := Default()
	text := object{"type": "string"}
	var s object
	switch o.Value(&d).(type) {
	case *string:
		s = text
	case *bool:
		s = object{"type": "boolean"}
	case *int:
		s = object{"type": "integer"}
	case *[]string:
		s = object{"type": "array", "items": text}
	case *Duration:
		s = object{"type": "string", "pattern": duration}
	case *PortRange:
		s = object{"type": "string", "pattern": `^([0-9]{1,5}-[0-9]{1,5})?$`}
	case *map[string]Namespace:
		fields := object{}
		for i := range reflect.TypeFor[Namespace]().NumField() {
			name, _, _ := strings.Cut(reflect.TypeFor[Namespace]().Field(i).Tag.Get("json"), ",")
			fields[name] = text
		}
		s = object{"type": "object", "additionalProperties": object{
			"type": "object", "additionalProperties": false, "properties": fields,
		}}
	default:
		panic("BUG: " + o.Field + " has a type that is not expected here")
	}
	s = maps.Clone(s)
	if len(o.Words) > 0 {
		s["enum"] = o.Words
		if value := o.Value(&d).(*string); *value == "" {
			s["enum"] = slices.Concat([]string{""}, o.Words)
		}
	}
	about := o.Docs
	if about == "" {
		about = o.Help
	}
	// An editor shows it as it is, away from the page.
	about = strings.ReplaceAll(about, "](#", "](docs/configuration.md#")
	s["description"] = strings.ReplaceAll(markdownLink.ReplaceAllString(about, "$2"), "`", "")
	return s
}
