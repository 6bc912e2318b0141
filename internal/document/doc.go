// Package document reads the objects of YAML and JSON files as Kubernetes writes them: documents between lines of
// "---", each an object or a List. It knows no kind but Lists. A mistake names its line, document, object and field.
package document
