// Package spec is what a user asks of a run, on the command line or in a scenario file: one table of fields, one set of
// defaults, one way to the engine.
package spec
