package proxier

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/ipvs-proxier/ipvs-proxier/scheduler"
)

// Option describes one setting of [Config]. Flags, the fields of the configuration file, shell completion, help,
// validation of words and the table in docs/configuration.md come from [Options]; there is no other list.
type Option struct {
	// Field is where the configuration file has it: "conntrack.min" is min below conntrack.
	Field string
	// Flags are the names of its flags, of which the first is ours to recommend, without "--". They mean the same. A
	// setting that a command line cannot express has none.
	Flags []string
	// Help is the line of --help; Docs, where set, says more, as Markdown, on the page.
	Help, Docs string
	// Words are all values that it takes, where they are few; an empty one is taken where it is the default.
	Words []string
	// Suggest are values that a shell proposes beside Words, each with a tab and its meaning where it has one.
	Suggest []string
	// Unset says on the page what is in force without a value, where the default value does not say it.
	Unset string
}

// Options returns all settings, in the order of the page.
func Options() []Option { return options }

// Value returns a pointer to the setting in the Config: *string, *bool, *int, *[]string, *[Duration], *[PortRange] or
// *map[string][Namespace].
func (o Option) Value(c *Config) any { return o.in(c).Addr().Interface() }

// Copy gives the setting the value that it has in another Config.
func (o Option) Copy(to, from *Config) { o.in(to).Set(o.in(from)) }

func (o Option) in(c *Config) reflect.Value {
	v := reflect.ValueOf(c).Elem()
	for name := range strings.SplitSeq(o.Field, ".") {
		v = fieldOf(v, name)
	}
	return v
}

// fieldOf returns the field of a struct that JSON calls so.
func fieldOf(v reflect.Value, name string) reflect.Value {
	for i := range v.NumField() {
		if tag, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ","); tag == name {
			return v.Field(i)
		}
	}
	panic(fmt.Sprintf("BUG: %s has no field %q", v.Type(), name))
}

// DefaultText is the default as the page shows it: each value in code quotes.
func (o Option) DefaultText() string {
	if o.Unset != "" {
		return o.Unset
	}
	d := Default()
	value := o.in(&d)
	text, err := json.Marshal(value.Interface())
	if err != nil {
		panic("BUG: " + err.Error())
	}
	var all []string
	switch value.Kind() {
	case reflect.Slice:
		for i := range value.Len() {
			all = append(all, value.Index(i).String())
		}
	default:
		all = []string{strings.Trim(string(text), `"`)}
	}
	for i, word := range all {
		if word == "" || word == "null" {
			return ""
		}
		if short, whole := strings.CutSuffix(word, "m0s"); whole { // 24h0m0s, 10m0s
			word = short + "m"
			if hours, whole := strings.CutSuffix(word, "h0m"); whole {
				word = hours + "h"
			}
		}
		all[i] = "`" + word + "`"
	}
	return strings.Join(all, ", ")
}

// validateWords finds values that are none of the few that the option takes.
func (c Config) validateWords(bad func(field, format string, args ...any)) {
	d := Default()
	for _, o := range options {
		if len(o.Words) == 0 {
			continue
		}
		value := o.in(&c).String()
		if unset := value == "" && o.in(&d).String() == ""; !unset && !slices.Contains(o.Words, value) {
			bad(o.Field, "%q is unknown; allowed are %s", value, strings.Join(o.Words, ", "))
		}
	}
}

// schedulerWords are all names of schedulers, each with a tab and what it is good for.
func schedulerWords() (words []string) {
	for _, word := range scheduler.Words() {
		s, _ := scheduler.Lookup(word)
		words = append(words, word+"\t"+s.Summary)
	}
	return words
}
