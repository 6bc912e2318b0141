// Package statedir is a directory in which a process keeps what outlives it. One process at a time has it. Its files
// are their owner's alone; what stands in their place and is no file is neither followed nor waited for.
package statedir
