// Package freeze keeps an operator's order that nothing is written to this node's kernel for a time. It keeps the
// reason and the end, also over a restart of the daemon, and returns them to all that show them. The engine is what
// then writes nothing.
package freeze
