//go:build peers

// Package peer names the program that this module builds, so that go.mod keeps what it needs.
package peer

import _ "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router"
