package proxier

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/ipvs-proxier/ipvs-proxier/internal/document"
	"github.com/ipvs-proxier/ipvs-proxier/internal/spelling"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/budget"
	"github.com/ipvs-proxier/ipvs-proxier/proxier/internal/inputfile"
)

// The version and kind that a configuration file must name.
const (
	ConfigAPIVersion = "ipvs-proxier.io/v1alpha1"
	ConfigKind       = "Configuration"
)

// fileConfig is a configuration file: the Config with its type.
type fileConfig struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Config     `json:",inline"`
}

// ReadConfig reads a configuration file over the values of base. A field that does not exist, or stands twice, is an
// error.
func ReadConfig(path string, base Config) (Config, error) {
	data, err := readNamed(path)
	if err != nil {
		return base, fmt.Errorf("configuration: %w", err)
	}
	c, err := parseConfig(data, base)
	if err != nil {
		return base, fmt.Errorf("configuration %s: %w", path, err)
	}
	return c, nil
}

// readNamed reads a file that its user names: a pipe, as the shell's <(...) is, counts as well.
func readNamed(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := ReadConfigText(f)
	if large := (inputfile.TooLargeError{}); errors.As(err, &large) {
		err = &fs.PathError{Op: "read", Path: path, Err: large}
	}
	return text, err
}

// ReadConfigText reads the text of a configuration, of this proxier or another proxy, to its end. More than 1 MiB is an
// error.
func ReadConfigText(r io.Reader) ([]byte, error) {
	return io.ReadAll(inputfile.Bounded(r, inputfile.MaxSmall))
}

// WriteConfig returns the configuration file that holds what in c differs from the defaults.
func WriteConfig(c Config) ([]byte, error) {
	fields, err := jsonFields(c)
	if err != nil {
		return nil, err
	}
	defaults, err := jsonFields(Default())
	if err != nil {
		return nil, err
	}
	for name, value := range fields {
		if reflect.DeepEqual(value, defaults[name]) {
			delete(fields, name)
		}
	}
	fields["apiVersion"], fields["kind"] = ConfigAPIVersion, ConfigKind
	return yaml.Marshal(fields)
}

func jsonFields(c Config) (map[string]any, error) {
	data, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	fields := map[string]any{}
	return fields, json.Unmarshal(data, &fields)
}

func parseConfig(data []byte, base Config) (Config, error) {
	file := fileConfig{Config: base}
	documents := 0
	for object, err := range document.Read(data, nil) {
		if err != nil {
			return base, err
		}
		if documents++; documents > 1 {
			return base, errors.New("there is more than one document; allowed is one")
		}
		if object.Kind == "KubeProxyConfiguration" || object.Kind == "ConfigMap" {
			return base, fmt.Errorf(
				"kind %s; allowed is apiVersion %s, kind %s: `ipvs-proxier convert FILE` makes one of kube-proxy's", object.Kind,
				ConfigAPIVersion, ConfigKind,
			)
		}
	}
	data, err := yaml.YAMLToJSONStrict(data)
	if err != nil {
		return base, explainField(err)
	}
	// Unlike encoding/json this one minds upper and lower case.
	mistakes, err := kjson.UnmarshalStrict(data, &file)
	if err != nil {
		return base, explainField(err)
	}
	if len(mistakes) > 0 {
		return base, explainField(mistakes[0])
	}
	if file.APIVersion != ConfigAPIVersion || file.Kind != ConfigKind {
		return base, fmt.Errorf("apiVersion %q kind %q; allowed is apiVersion %s, kind %s",
			file.APIVersion, file.Kind, ConfigAPIVersion, ConfigKind)
	}
	return file.Config, nil
}

// wrongType is the JSON library's word for a value of another type than its field's.
var wrongType = regexp.MustCompile(`cannot unmarshal (\S+) (?:.* )?into Go struct field \w+\.Config\.(\S+) of type (\S+)`)

// wantedTypes say what fields of each type take.
var wantedTypes = map[string]string{
	"proxier.Duration":  "a time with its unit, such as 30s or 15m",
	"proxier.PortRange": "a range of ports, such as 32768-65535",
	"string":            "text", "bool": "true or false", "int": "a whole number", "[]string": "a list",
}

var unknownField = regexp.MustCompile(`unknown field "([^"]*)"`)

// explainField adds the nearest known field to an error about an unknown one.
func explainField(err error) error {
	text := strings.TrimPrefix(err.Error(), "error unmarshaling JSON: while decoding JSON: ")
	text = strings.TrimPrefix(text, "error converting YAML to JSON: ")
	if wrong := wrongType.FindStringSubmatch(text); wrong != nil && wantedTypes[wrong[3]] != "" {
		return fmt.Errorf("%s: it is of the type %s; allowed is %s", wrong[2], wrong[1], wantedTypes[wrong[3]])
	}
	found := unknownField.FindStringSubmatch(text)
	if found == nil {
		return fmt.Errorf("%s", text)
	}
	name := found[1][strings.LastIndexByte(found[1], '.')+1:]
	if near, ok := spelling.Nearest(name, fieldNames()); ok {
		return fmt.Errorf("unknown field %q (did you mean %q?)", found[1], near)
	}
	return fmt.Errorf("unknown field %q; known are %s", found[1], strings.Join(fieldNames(), ", "))
}

// fieldNames returns the names of the file's fields, those within others included.
func fieldNames() []string {
	names := []string{"apiVersion", "kind"}
	for _, o := range options {
		within, name, is := strings.Cut(o.Field, ".")
		if !slices.Contains(names, within) {
			names = append(names, within)
		}
		if is {
			names = append(names, name)
		}
	}
	return names
}

// Printable returns a name or text from outside as a terminal may have it: as it is where all of it can be printed,
// else quoted.
func Printable(text string) string { return budget.Printable(text) }
