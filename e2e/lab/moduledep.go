package main

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// moduleName returns the kernel's name of a module file: no directory, no suffixes, underscores.
func moduleName(file string) string {
	name, _, _ := strings.Cut(path.Base(file), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

// loadOrder returns the files of modules and of all that they need, each after what it needs. It reads modules.dep,
// where a line lists a module's needs, nearest first; builtin is modules.builtin: what need not be loaded.
func loadOrder(dep, builtin string, modules ...string) ([]string, error) {
	needs := map[string][]string{} // by name, the module's own file last
	for _, line := range strings.Split(dep, "\n") {
		file, rest, found := strings.Cut(line, ":")
		if !found {
			continue
		}
		list := strings.Fields(rest)
		slices.Reverse(list)
		needs[moduleName(file)] = append(list, file)
	}
	inside := map[string]bool{}
	for _, file := range strings.Fields(builtin) {
		inside[moduleName(file)] = true
	}
	var order []string
	for _, module := range modules {
		files, found := needs[module]
		if !found && !inside[module] {
			return nil, fmt.Errorf("the kernel package has no module %s", module)
		}
		for _, file := range files {
			if !slices.Contains(order, file) {
				order = append(order, file)
			}
		}
	}
	return order, nil
}
