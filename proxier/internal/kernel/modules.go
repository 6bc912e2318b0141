package kernel

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"strings"
)

// modules is what can be known of kernel modules without trying.
type modules struct {
	present map[string]bool
	// lists are those of modules that can be loaded and of those that are built in (modules.dep, modules.builtin of
	// kmod); nil where they cannot be read.
	lists [][]byte
}

// readModules reads what there is to read below root, "" but for tests; release is the kernel's.
func readModules(root, release string) modules {
	m := modules{present: map[string]bool{}}
	if list, err := os.ReadFile(filepath.Join(root, "/proc/modules")); err == nil {
		for scan := bufio.NewScanner(bytes.NewReader(list)); scan.Scan(); {
			name, _, _ := strings.Cut(scan.Text(), " ")
			m.present[name] = true
		}
	}
	for _, name := range []string{"modules.dep", "modules.builtin"} {
		list, err := os.ReadFile(filepath.Join(root, "/lib/modules", release, name))
		if err != nil {
			m.lists = nil
			break
		}
		m.lists = append(m.lists, list)
	}
	return m
}

// loaded reports whether the module is loaded. One that is built in may be in no list of those.
func (m modules) loaded(module string) bool { return m.present[module] }

// builtIn reports whether the module is known to be part of the kernel.
func (m modules) builtIn(module string) bool {
	return len(m.lists) == 2 && bytes.Contains(m.lists[1], []byte("/"+module+".ko"))
}

// absent reports whether there is no such module, loaded or not. Where that is not known it is false.
func (m modules) absent(module string) bool {
	file := []byte("/" + module + ".ko") // also .ko.xz and the like
	for _, list := range m.lists {
		if bytes.Contains(list, file) {
			return false
		}
	}
	return len(m.lists) > 0 && !m.loaded(module)
}
