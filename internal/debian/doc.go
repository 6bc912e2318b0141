// Package debian gets packages of Debian's archive, from where this machine's own sources of apt have it, without
// installing them: kernels that tests boot, and the programs of images.
package debian
