// Package nodecheck decides whether a node is ready for this program. It is what `ipvs-proxier check node` prints, and
// what `run` asks before it changes anything.
//
// [Facts] is what a node has, read by package nodefacts. [Wanted] is what the configuration needs of it. [Evaluate]
// compares the two and reads nothing itself. Its [Check] table has each check once, with a code that never changes its
// meaning; docs/node-check.md is written from it.
package nodecheck
