package proxier

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ipvs-proxier/ipvs-proxier/internal/golden"
	"github.com/ipvs-proxier/ipvs-proxier/internal/marks"
)

// TestGeneratedOptions: the page has each option, as the table says.
func TestGeneratedOptions(t *testing.T) {
	const page, begin, end = "../docs/configuration.md", "<!-- options: written by make generate -->\n", "<!-- end of options -->\n"
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	text, err := marks.Replace(string(data), begin, end, optionTable())
	if err != nil {
		t.Fatalf("%s: %v", page, err)
	}
	golden.Compare(t, page, text)
}

func optionTable() string {
	var table strings.Builder
	table.WriteString("| flag | field | default | |\n|---|---|---|---|\n| `--config` | | | the file |\n")
	for _, o := range Options() {
		var flags []string
		for _, name := range o.Flags {
			flags = append(flags, "`--"+name+"`")
		}
		docs := o.Docs
		if docs == "" {
			docs = o.Help
		}
		fmt.Fprintf(&table, "| %s | `%s` | %s | %s |\n", strings.Join(flags, ", "), o.Field, o.DefaultText(), docs)
	}
	return strings.ReplaceAll(table.String(), "|  |", "| |")
}

// TestOptionsAndFieldsAreTheSame: each field of a Config is an option, and each but the one that a command line cannot
// say has a flag.
func TestOptionsAndFieldsAreTheSame(t *testing.T) {
	fields := map[string]bool{}
	var walk func(prefix string, of reflect.Type)
	walk = func(prefix string, of reflect.Type) {
		for i := range of.NumField() {
			name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
			if of.Field(i).Type == reflect.TypeFor[Conntrack]() {
				walk(name+".", of.Field(i).Type)
				continue
			}
			fields[prefix+name] = true
		}
	}
	walk("", reflect.TypeFor[Config]())
	flags := map[string]bool{}
	for _, o := range Options() {
		if !fields[o.Field] {
			t.Errorf("option %s is no field, or stands twice", o.Field)
		}
		delete(fields, o.Field)
		if len(o.Flags) == 0 && o.Field != "namespaces" {
			t.Errorf("option %s has no flag", o.Field)
		}
		for _, name := range o.Flags {
			if flags[name] {
				t.Errorf("two options have the flag --%s", name)
			}
			flags[name] = true
		}
		if len(o.Flags) > 0 && o.Help == "" || o.Docs == "" && o.Help == "" {
			t.Errorf("option %s is not explained", o.Field)
		}
	}
	for name := range fields {
		t.Errorf("field %s is no option", name)
	}
}

// TestOptionsAreWhereTheFileHasThem: what a file sets is what the option shows, and copies.
func TestOptionsAreWhereTheFileHasThem(t *testing.T) {
	values := map[reflect.Type]string{
		reflect.TypeFor[string](): `"other"`, reflect.TypeFor[int](): `77`, reflect.TypeFor[[]string](): `["other"]`,
		reflect.TypeFor[Duration](): `"77s"`, reflect.TypeFor[PortRange](): `"7-77"`,
		reflect.TypeFor[map[string]Namespace](): `{"a": {"scheduler": "lc"}}`,
	}
	for _, o := range Options() {
		d := Default()
		value := values[reflect.TypeOf(o.Value(&d)).Elem()]
		if b, is := o.Value(&d).(*bool); is {
			value = fmt.Sprint(!*b)
		}
		text := fmt.Sprintf("%s: %s\n", o.Field, value)
		if within, name, is := strings.Cut(o.Field, "."); is {
			text = fmt.Sprintf("%s: {%s: %s}\n", within, name, value)
		}
		c, err := parseConfig([]byte(head+text), Default())
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		got, err := json.Marshal(o.Value(&c))
		if err != nil {
			t.Fatal(err)
		}
		if want := strings.ReplaceAll(strings.ReplaceAll(value, " ", ""), `"77s"`, `"1m17s"`); string(got) != want {
			t.Errorf("%s is %s in the option", text, got)
		}
		if o.Copy(&d, &c); !reflect.DeepEqual(c, d) {
			t.Errorf("%s: its copy differs:\n%s", o.Field, cmp.Diff(c, d))
		}
	}
}
