// Package freeze keeps an operator's wish that nothing is written to this node's kernel for a time: why and until when,
// over a restart of the daemon, and for all who show it. To write nothing is the engine's.
package freeze
