// Package kernel carries operations into kernels: Linux, one in memory, and a wrapper that injects faults. All pass the
// contract suite of kerneltest. A library's type, and the text of a tool, never leave the file that handles them.
package kernel
