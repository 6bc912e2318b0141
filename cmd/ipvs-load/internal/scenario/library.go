package scenario

import (
	"embed"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"sigs.k8s.io/yaml"
)

//go:embed library/*.yaml
var library embed.FS

// Library returns a scenario of the library by its name.
func Library(name string) (string, error) {
	text, err := library.ReadFile("library/" + name + ".yaml")
	if err != nil {
		return "", fmt.Errorf("there is no scenario %q in the library; it has %s (a file's name has a dot or a slash in it)",
			name, strings.Join(Names(), ", "))
	}
	return string(text), nil
}

// Names lists the library, in the order of the alphabet.
func Names() []string {
	files, err := library.ReadDir("library")
	if err != nil {
		panic(err) // it is built in
	}
	var names []string
	for _, f := range files {
		names = append(names, strings.TrimSuffix(f.Name(), ".yaml"))
	}
	return names
}

// WriteLibrary lists the library with what each scenario is for and the variables that it needs.
func WriteLibrary(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, name := range Names() {
		text, err := Library(name)
		if err != nil {
			return err
		}
		var head struct {
			Description string `json:"description"`
		}
		if err := yaml.Unmarshal([]byte(text), &head); err != nil {
			return fmt.Errorf("scenario %s: %w", name, err)
		}
		fmt.Fprintf(t, "%s\t%s\n\t  needs %s\n", name, strings.TrimSpace(head.Description), needs(text))
	}
	return t.Flush()
}

// needs lists the variables of a scenario that have no default.
func needs(text string) string {
	var all []string
	seen := map[string]bool{}
	for _, parts := range variable.FindAllStringSubmatch(text, -1) {
		if parts[2] == "" && !seen[parts[1]] {
			seen[parts[1]] = true
			all = append(all, parts[1])
		}
	}
	if len(all) == 0 {
		return "nothing"
	}
	return strings.Join(all, ", ")
}
