// Package cluster says what the cluster wants of this node, in our own types. API objects are parsed here once; past
// this package nothing can be malformed. What a user wrote and we reject becomes a [Problem], never an error and
// never a silent default.
package cluster
