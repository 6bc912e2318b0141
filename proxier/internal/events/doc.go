// Package events reports Problems as Events of Services and Nodes, where users look for them: each Event once, by one
// of the nodes that see the same.
package events
