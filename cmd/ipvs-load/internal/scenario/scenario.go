// Package scenario reads and carries out scenario files: loads with their events, in variants and rounds, so that a
// measurement can be made again from a file.
package scenario

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/ipvs-proxier/ipvs-proxier/cmd/ipvs-load/internal/spec"
)

// Scenario is a file.
type Scenario struct {
	Name        string `json:"name"`
	Description string `json:"description"`

	// Load is what every variant does, as far as the variant itself does not say otherwise.
	Load spec.Load `json:"load"`

	// Repetitions is the number of rounds. In each round every variant has its turn. The order alternates, so that a
	// machine that changes its pace changes it for all of them.
	Repetitions int           `json:"repetitions"`
	Pause       spec.Duration `json:"pause"` // before each run but the first

	// Before and After are commands around each run; Setup and Teardown around the whole.
	Setup    string `json:"setup"`
	Teardown string `json:"teardown"`
	Before   string `json:"before"`
	After    string `json:"after"`

	// Threshold is the relative difference between variants from which on one counts.
	Threshold *float64 `json:"threshold"`

	Variants []Variant `json:"variants"`

	source string
}

// Variant is one of several things that are compared.
type Variant struct {
	Name   string `json:"name"`
	Before string `json:"before"` // after the scenario's own
	After  string `json:"after"`  // before the scenario's own

	// Load has the fields in which this variant differs.
	Load json.RawMessage `json:"load"`

	merged spec.Load
}

// MaxRepetitions bounds the rounds of a scenario.
const MaxRepetitions = 1000

// Parse reads a scenario and puts the variables into their places. Every error names the field.
func Parse(text string, variables func(name string) (string, bool)) (*Scenario, error) {
	document, source, err := fill(text, variables)
	if err != nil {
		return nil, err
	}
	s := &Scenario{source: source}
	if err := yaml.UnmarshalStrict(document, s); err != nil {
		return nil, readable(err)
	}
	if s.Name == "" {
		return nil, errors.New("name: it is empty; a scenario needs a name")
	}
	if s.Repetitions == 0 {
		s.Repetitions = 1
	}
	if err := s.Repeat(s.Repetitions); err != nil {
		return nil, err
	}
	if s.Pause < 0 {
		return nil, fmt.Errorf("pause: %v is out of range; allowed is 0 and more", s.Pause)
	}
	if len(s.Variants) == 0 {
		s.Variants = []Variant{{Name: s.Name}}
	}
	for i := range s.Variants {
		if err := s.merge(i); err != nil {
			return nil, fmt.Errorf("variants[%d]: %w", i, err)
		}
	}
	return s, nil
}

// Repeat sets the number of rounds.
func (s *Scenario) Repeat(n int) error {
	if n < 1 || n > MaxRepetitions {
		return fmt.Errorf("repetitions: %d is out of range; allowed is 1 to %d", n, MaxRepetitions)
	}
	s.Repetitions = n
	return nil
}

// Only leaves one variant.
func (s *Scenario) Only(name string) error {
	i := slices.IndexFunc(s.Variants, func(v Variant) bool { return v.Name == name })
	if i < 0 {
		return fmt.Errorf("scenario %s has no variant %q", s.Name, name)
	}
	s.Variants = s.Variants[i : i+1]
	return nil
}

func (s *Scenario) merge(i int) error {
	v := &s.Variants[i]
	if v.Name == "" {
		return errors.New("name: it is empty; a variant needs a name")
	}
	if slices.ContainsFunc(s.Variants[:i], func(o Variant) bool { return o.Name == v.Name }) {
		return fmt.Errorf("name: there are two variants %q", v.Name)
	}
	// A copy of the common part, whose lists the variant's own replace.
	common, err := json.Marshal(s.Load)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(common, &v.merged); err != nil {
		return err
	}
	if len(v.Load) > 0 {
		if err := yaml.UnmarshalStrict(v.Load, &v.merged); err != nil {
			return fmt.Errorf("load: %w", readable(err))
		}
	}
	_, _, err = v.merged.Config()
	if err != nil {
		return fmt.Errorf("load: %w", err)
	}
	return nil
}

// readable takes the reader's own words off an error.
func readable(err error) error {
	text := err.Error()
	for _, prefix := range []string{
		"error unmarshaling JSON: ", "while decoding JSON: ", "error converting YAML to JSON: ", "json: ",
	} {
		text = strings.TrimPrefix(text, prefix)
	}
	return errors.New(text)
}

var variable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)(:-([^}]*))?\}`)

// fill puts the values of ${NAME} and ${NAME:-default} in their places. It does so in the texts of the file once that
// has been read, so that a value may hold quotes and colons as commands do. A text that is nothing but one variable
// becomes a number where its value is one. It returns the filled file as JSON, for the program, and as YAML, for
// people.
func fill(text string, variables func(name string) (string, bool)) (document []byte, source string, err error) {
	document, err = yaml.YAMLToJSONStrict([]byte(text))
	if err != nil {
		return nil, "", readable(err)
	}
	var tree any
	if err := json.Unmarshal(document, &tree); err != nil {
		return nil, "", readable(err)
	}
	f := &filler{variables: variables}
	tree = f.walk(tree)
	if len(f.missing) > 0 {
		return nil, "", fmt.Errorf("variables without a value: %s; give each by --set NAME=VALUE or in the environment",
			strings.Join(slices.Compact(slices.Sorted(slices.Values(f.missing))), ", "))
	}
	if document, err = json.Marshal(tree); err != nil {
		return nil, "", err
	}
	filled, err := yaml.JSONToYAML(document)
	return document, string(filled), err
}

type filler struct {
	variables func(name string) (string, bool)
	missing   []string
}

func (f *filler) walk(node any) any {
	switch x := node.(type) {
	case map[string]any:
		for k := range x {
			x[k] = f.walk(x[k])
		}
	case []any:
		for i := range x {
			x[i] = f.walk(x[i])
		}
	case string:
		filled := f.text(x)
		if variable.FindString(x) == x && x != "" {
			if _, err := strconv.ParseInt(filled, 10, 64); err == nil {
				return json.Number(filled)
			}
		}
		return filled
	}
	return node
}

func (f *filler) text(s string) string {
	return variable.ReplaceAllStringFunc(s, func(found string) string {
		parts := variable.FindStringSubmatch(found)
		if v, ok := f.variables(parts[1]); ok {
			return v
		}
		if parts[2] == "" {
			f.missing = append(f.missing, parts[1])
		}
		return parts[3]
	})
}

// Variables looks a name up among those that were set, then in the environment.
func Variables(set map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		if v, ok := set[name]; ok {
			return v, true
		}
		return os.LookupEnv(name)
	}
}
