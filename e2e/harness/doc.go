// Package harness runs the real programs on the hosts of a topology and asks what they and the kernel say. It knows
// nothing of their code: only command lines, output and traffic.
package harness
