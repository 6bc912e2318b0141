package document

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Locatable is how large a document may be in whose lines mistakes are looked up. In a larger one they are in its first
// line. The nodes of a document take some twenty times its size.
const Locatable = 4 << 20

// nodes are a document's, read when the first mistake is to be found in it.
type nodes struct {
	read bool
	root *yaml.Node
}

func (n *nodes) of(text []byte) *yaml.Node {
	if !n.read && len(text) <= Locatable {
		var root yaml.Node
		if err := yaml.Unmarshal(text, &root); err == nil && len(root.Content) > 0 {
			n.root = root.Content[0]
		}
	}
	n.read = true
	return n.root
}

// lineOf returns the file's line of a path such as "items[0].spec.ports[1].port": of the innermost part of it that is
// there.
func (d *document) lineOf(path string) int {
	root := d.nodes.of(d.text)
	if root == nil || path == "" {
		return d.line
	}
	line, whole := walk(root, path)
	if !whole { // clusterIPs may be written as clusterIP
		if other, found := walk(root, strings.Replace(path, "clusterIPs[0]", "clusterIP", 1)); found {
			line = other
		}
	}
	if line == 0 {
		return d.line
	}
	return d.begin + line - 1
}

// walk follows a path from a node and returns the line of the last part that is there, and whether that is the whole
// path.
func walk(n *yaml.Node, path string) (line int, whole bool) {
	for path = strings.TrimSuffix(path, "."); path != ""; path = strings.TrimPrefix(path, ".") {
		for n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		var at, value *yaml.Node
		switch n.Kind {
		case yaml.MappingNode:
			at, value, path = field(n, path)
		case yaml.SequenceNode:
			value, path = element(n, path)
			at = value
		}
		if at == nil {
			return line, false
		}
		line, n = at.Line, value
	}
	return line, true
}

// field returns the key and the value at the beginning of a path, and the rest. A key may contain dots: the longest one
// counts.
func field(n *yaml.Node, path string) (key, value *yaml.Node, rest string) {
	rest = path
	for i := 0; i+1 < len(n.Content); i += 2 {
		after, has := strings.CutPrefix(path, n.Content[i].Value)
		if has && len(after) < len(rest) && (after == "" || after[0] == '.' || after[0] == '[') {
			key, value, rest = n.Content[i], n.Content[i+1], after
		}
	}
	return key, value, rest
}

// element returns the item of a sequence at the beginning of a path, and the rest.
func element(n *yaml.Node, path string) (item *yaml.Node, rest string) {
	index, rest, _ := strings.Cut(strings.TrimPrefix(path, "["), "]")
	if i, err := strconv.Atoi(index); err == nil && i >= 0 && i < len(n.Content) {
		return n.Content[i], rest
	}
	return nil, path
}

// pathAt returns the path of the value that ends at an offset of JSON, or begins before it where it is an object or a
// list.
func pathAt(data []byte, offset int64) string {
	type level struct {
		list  bool
		index int
		key   string // of the value that comes next; "" in an object where a key comes next
		named bool
	}
	var levels []level
	path := func() string {
		var b strings.Builder
		for _, l := range levels {
			switch {
			case l.list:
				b.WriteString("[" + strconv.Itoa(l.index) + "]")
			case l.named:
				b.WriteString("." + l.key)
			}
		}
		return strings.TrimPrefix(b.String(), ".")
	}
	next := func() { // a value has ended
		if len(levels) > 0 {
			top := &levels[len(levels)-1]
			top.index, top.named = top.index+1, false
		}
	}
	for decoder := json.NewDecoder(bytes.NewReader(data)); ; {
		token, err := decoder.Token()
		if err != nil {
			return ""
		}
		delim, isDelim := token.(json.Delim)
		top := len(levels) - 1
		if text, isText := token.(string); isText && top >= 0 && !levels[top].list && !levels[top].named {
			levels[top].key, levels[top].named = text, true
			continue
		}
		if decoder.InputOffset() >= offset {
			return path()
		}
		switch {
		case isDelim && (delim == '{' || delim == '['):
			levels = append(levels, level{list: delim == '['})
		case isDelim:
			levels = levels[:top]
			next()
		default:
			next()
		}
	}
}
