// Package manifests serves a directory of YAML and JSON files as if it were the Kubernetes API: its Services and
// EndpointSlices can be listed and watched. Read is how a file is read, by itself too: `check` and `run --manifests`
// accept the same.
//
// Files named *.yaml, *.yml and *.json count, in the directory itself; names that begin with a dot or a hash do not,
// and editors' backup and swap files have other endings. A file that cannot be read or understood keeps its last good
// content in force. The directory may be a mounted ConfigMap: the swap of its ..data link is noticed.
package manifests
